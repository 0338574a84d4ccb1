//! What commands have changed survives: kills, full disks, damage. Whatever happens to it, a rollback is live.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::control::Two;
use crate::kit::command::Admin;
use crate::kit::{Backend, Proxy, Visitor, ok, pause, wait_until};

fn fly(proxy: &Proxy) -> f64 {
    let status = proxy.admin().see("status");
    let backends = status["routes"][0]["backends"].as_array().unwrap();
    let fly = backends.iter().find(|backend| backend["name"] == "fly").unwrap();
    fly["weight"].as_f64().unwrap()
}

#[test]
fn a_restart_finds_overrides_and_history_again() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(100, ""));
    proxy.steer("shift fly 30 --reason canary");
    proxy.steer("rollback");
    let proxy = proxy.restart();
    let status = proxy.admin().see("status");
    assert_eq!((&status["revision"], &status["routes"][0]["rolled_back"]), (&4.into(), &true.into()));
    assert_eq!(proxy.get("/").text(), "heroku");
    let history = proxy.steer("history");
    assert!(history.contains("alice") && history.contains("canary"), "{history}");
    proxy.steer("undo");
    assert_eq!(fly(&proxy), 30.0);
    // A file that says something else by now wins at the start, too.
    let file = proxy.config_path();
    let text = fs::read_to_string(&file).unwrap();
    let directory = proxy.directory.path().to_owned();
    let parked = directory.join("parked");
    fs::write(&parked, text.replace("heroku = 0, fly = 100", "heroku = 80, fly = 20")).unwrap();
    fs::rename(&parked, &file).unwrap();
    let proxy = proxy.restart();
    assert_eq!(fly(&proxy), 20.0);
}

/// The state after a kill is the one before the change under way, or the one after it.
#[test]
fn a_kill_at_any_moment_leaves_the_old_state_or_the_new() {
    let two = Two::start();
    let mut proxy = Proxy::start(&two.at(5, ""));
    let mut live = 5.0;
    for round in 0..12 {
        let admin = proxy.admin();
        let driver = thread::spawn(move || drive(admin, round, live));
        pause(Duration::from_millis(3 * round));
        proxy.signal("KILL");
        let (acknowledged, asked) = driver.join().unwrap();
        proxy = proxy.restart();
        live = fly(&proxy);
        assert!(live == acknowledged || live == asked, "{live}: neither {acknowledged} nor {asked}");
    }
}

/// Shifts until the proxy is gone: what was acknowledged last, and what was asked last.
fn drive(mut admin: Admin, round: u64, live: f64) -> (f64, f64) {
    let (mut acknowledged, mut asked) = (live, live);
    let driven = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for step in 1..=9_999_u64 {
            asked = ((round * 977 + step * 13) % 10_000) as f64 / 100.0;
            let body = format!(r#"{{"command":"shift","backend":"fly","percent":{asked}}}"#);
            let (status, answer) = admin.command(&body);
            assert_eq!((status, &answer["kept"]), (200, &true.into()), "{answer}");
            acknowledged = asked;
        }
    }));
    assert!(driven.is_err(), "it was killed");
    (acknowledged, asked)
}

#[test]
fn a_rollback_is_live_though_nothing_can_be_kept_and_says_so() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(100, ""));
    // Permissions don't hold root back; a directory where the file should be does.
    let journal = proxy.state().join("journal");
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    let said = proxy.steer("rollback");
    assert!(said.contains("it is live, but not kept") && said.contains("revision 2 is live"), "{said}");
    assert_eq!(proxy.get("/").text(), "heroku");
    proxy.wait_for_metric("crossfade_state_kept", &[], 0.0);
    proxy.wait_for_event("state.trouble");
    assert!(proxy.steer("status").contains("restart"), "{}", proxy.steer("status"));
    // It is kept as soon as it can be.
    fs::remove_dir(&journal).unwrap();
    proxy.wait_for_metric("crossfade_state_kept", &[], 1.0);
    let proxy = proxy.restart();
    assert_eq!(proxy.get("/").text(), "heroku");
}

#[test]
fn damage_is_told_and_costs_no_more_than_what_was_damaged() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(5, ""));
    proxy.steer("shift fly 30");
    proxy.steer("shift fly 60");
    let journal = proxy.state().join("journal");
    let whole = fs::read(&journal).unwrap();
    // The last change is torn, as by a machine that lost its power.
    fs::write(&journal, &whole[..whole.len() - 7]).unwrap();
    let proxy = proxy.restart();
    proxy.wait_for_event("state.found-broken");
    assert_eq!(fly(&proxy), 30.0);
    fs::write(journal_of(&proxy), "nothing of ours\n").unwrap();
    let proxy = proxy.restart();
    proxy.wait_for_event("state.found-broken");
    assert_eq!((fly(&proxy), proxy.get("/").status()), (5.0, 200));
    assert!(proxy.state().join("journal.broken").exists());
    fs::remove_dir_all(proxy.state()).unwrap();
    let proxy = proxy.restart();
    assert_eq!((fly(&proxy), proxy.revision()), (5.0, 1));
}

fn journal_of(proxy: &Proxy) -> std::path::PathBuf {
    proxy.state().join("journal")
}

#[test]
fn a_socket_that_somebody_removes_comes_back() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(100, ""));
    fs::remove_file(proxy.state().join("admin.sock")).unwrap();
    wait_until("the socket is back", || proxy.state().join("admin.sock").exists());
    proxy.steer("rollback");
    assert_eq!(proxy.get("/").text(), "heroku");
    let mode = fs::metadata(proxy.state().join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn over_tcp_a_token_is_made_at_the_first_start_and_asked_for() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(100, "").server("admin = \"127.0.0.1:0\""));
    let address = admin_of(&proxy);
    let token = fs::read_to_string(proxy.state().join("admin-token")).unwrap();
    let ask = |authorization: &str| roll_back_over_tcp(&address, authorization);
    assert_eq!(ask(""), 401);
    assert_eq!(ask("Authorization: Bearer 0123456789abcdef\r\n"), 401);
    assert_eq!(proxy.get("/").text(), "fly");
    assert_eq!(ask(&format!("Authorization: Bearer {}\r\n", token.trim())), 200);
    assert_eq!(proxy.get("/").text(), "heroku");
    let mut guest = Visitor::connect(address.parse().unwrap());
    guest.send(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert!(guest.response().text().contains("<html"), "the dashboard's page needs no token");
}

/// The answer said that it was live, and it was: in a process about to end.
#[test]
fn commands_while_it_drains_are_for_the_process_that_follows() {
    let fly = Backend::start(|mut peer| {
        while peer.request().is_some() {
            peer.await_word();
            peer.send(ok("late"));
        }
    });
    let two = Two { heroku: Backend::answering(ok("heroku")), fly };
    let mut proxy = Proxy::start(&two.at(100, ""));
    let (mut visitor, mut admin) = (proxy.visit(), proxy.admin());
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    two.fly.next();
    proxy.signal("TERM");
    proxy.wait_for_event("drain.started");
    let (status, answer) = admin.command(r#"{"command":"rollback"}"#);
    assert_eq!((status, &answer["reason"]), (503, &"ending".into()), "{answer}");
    wait_until("the socket's place is free", || !proxy.state().join("admin.sock").exists());
    two.fly.go_on();
    assert_eq!(visitor.response().text(), "late");
    assert_eq!(proxy.exit_code(), 0);
}

/// After `crossfade drain` the process took no signal any more.
#[test]
fn a_signal_after_a_drain_by_command_means_now() {
    let fly = Backend::start(|mut peer| {
        peer.request();
        peer.hang();
    });
    let two = Two { heroku: Backend::answering(ok("heroku")), fly };
    let mut proxy = Proxy::start(&two.at(100, ""));
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    two.fly.next();
    proxy.steer("drain");
    proxy.wait_for_event("drain.started");
    assert_eq!(proxy.terminate(), 1);
}

#[test]
fn what_is_overridden_is_said_at_the_start() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(5, ""));
    proxy.steer("rollback");
    let proxy = proxy.restart();
    let event = proxy.wait_for_event("override.in-force");
    assert!(event.contains("rolled back") && event.contains("route=\"web\""), "{event}");
    let said = proxy.steer("rollback");
    assert!(said.contains("stable `heroku`") && said.contains("revision 3 is live"), "{said}");
}

#[test]
fn the_admin_api_comes_back_with_a_state_directory_that_can_be_used() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(100, "").server("admin = \"127.0.0.1:0\""));
    admin_of(&proxy);
    let state = proxy.state();
    let token = fs::read_to_string(state.join("admin-token")).unwrap();
    let mode = |mode| fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    let proxy = proxy.restart();
    let told = proxy.wait_for_event("state.no-socket");
    assert!(told.contains("others may write to") && told.contains("`chmod 700` it"), "{told}");
    assert_eq!(proxy.get("/").text(), "fly", "visitors are served");
    mode(0o700);
    let address = admin_of(&proxy);
    assert_eq!(roll_back_over_tcp(&address, &format!("Authorization: Bearer {}\r\n", token.trim())), 200);
    wait_until("the socket is open", || UnixStream::connect(state.join("admin.sock")).is_ok());
    proxy.steer("undo");
    assert_eq!(proxy.get("/").text(), "fly");
}

/// Where the admin API is over TCP, once it is told.
fn admin_of(proxy: &Proxy) -> String {
    let line = proxy.wait_for_event("(admin)");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
    address.unwrap().to_owned()
}

/// The status of the answer.
fn roll_back_over_tcp(address: &str, authorization: &str) -> u16 {
    let body = r#"{"command":"rollback"}"#;
    let mut guest = Visitor::connect(address.parse().unwrap());
    guest.send(format!(
        "POST /api/v1/commands HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         {authorization}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    guest.response().status()
}
