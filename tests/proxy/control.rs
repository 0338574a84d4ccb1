//! Commands: each is live on every worker when it returns, whatever visitors bring, and whatever else is wrong.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::kit::websocket::{agreed, handshake};
use crate::kit::{Backend, Config, Proxy, ok};

/// Two backends that answer with their names: `heroku`, which is stable, and `fly`.
pub(crate) struct Two {
    pub(crate) heroku: Backend,
    pub(crate) fly: Backend,
}

impl Two {
    pub(crate) fn start() -> Self {
        Self { heroku: Backend::answering(ok("heroku")), fly: Backend::answering(ok("fly")) }
    }

    /// A configuration with a state directory that gives `fly` so many percent, with these further keys of the route.
    pub(crate) fn at(&self, percent: u32, keys: &str) -> Config {
        let weights = format!("weights = {{ heroku = {}, fly = {percent} }}", 100 - percent);
        Config::new()
            .kept()
            .backend("heroku", &self.heroku.url(), "")
            .backend("fly", &self.fly.url(), "")
            .route(&format!("stable = \"heroku\"\n{weights}\n{keys}"))
    }
}

const PIN: &str = "pin = { header = \"X-Crossfade-Backend\", cookie = \"crossfade-pin\" }";

#[test]
fn a_shift_is_live_when_it_returns_and_says_what_it_changed() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(5, ""));
    let mut visitor = proxy.visit();
    assert_eq!(proxy.steer("shift fly 100%"), "web: heroku 95 -> 0 %, fly 5 -> 100 %\nrevision 2 is live\n");
    assert_eq!(visitor.get("/").text(), "fly");
    proxy.steer("shift fly -100 --reason enough");
    assert_eq!(visitor.get("/").text(), "heroku");
    let seen = (0..100).filter(|_| visitor.get("/").text() == "fly").count();
    assert_eq!((seen, proxy.metric("crossfade_weight_ratio", &[("backend", "fly")])), (0, 0.0));
    assert_eq!(proxy.metric("crossfade_commands_total", &[("command", "shift"), ("result", "applied")]), 2.0);
    let event = proxy.wait_for_event("command.applied");
    assert!(event.contains("actor=\"alice") && event.contains("revision=2"), "{event}");
}

/// Pins and cookies brought visitors to a platform that somebody had just given up.
#[test]
fn a_rollback_brings_everybody_back_with_pins_and_cookies_too() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(100, &format!("sticky = \"cookie\"\n{PIN}")));
    let stubborn =
        ["Cookie: crossfade=0\r\n", "X-Crossfade-Backend: fly\r\n", "Cookie: crossfade-pin=fly\r\n", ""];
    let mut visitor = proxy.visit();
    let mut all_at = |backend: &str| {
        for headers in stubborn {
            visitor.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
            assert_eq!(visitor.response().text(), backend, "{headers:?}");
        }
    };
    all_at("fly");
    let said = proxy.steer("rollback");
    assert!(said.starts_with("web: fly 100 -> 0 %, heroku 0 -> 100 %, rolled back\n"), "{said}");
    assert!(said.contains("stable `heroku` hasn't been asked since the start"), "{said}");
    all_at("heroku");
    proxy.steer("undo");
    all_at("fly");
}

#[test]
fn no_request_that_begins_after_a_rollback_reaches_the_candidate() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(100, "").server("workers = 2"));
    // Odd from the return of a rollback to the next shift.
    let (phase, ending) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let visit = |_| {
        let (phase, ending) = (Arc::clone(&phase), Arc::clone(&ending));
        let mut visitor = proxy.visit();
        thread::spawn(move || {
            let (mut late, mut closed, mut checked) = (0, 0, 0);
            while !ending.load(SeqCst) {
                let before = phase.load(SeqCst);
                let response = visitor.get("/");
                if before % 2 == 1 && phase.load(SeqCst) == before {
                    checked += 1;
                    late += usize::from(response.text() == "fly");
                }
                closed += usize::from(response.field("connection").is_some());
            }
            (late, closed, checked)
        })
    };
    let visitors: Vec<_> = (0..8).map(visit).collect();
    let mut admin = proxy.admin();
    for round in 0..20 {
        assert_eq!(admin.command(r#"{"command":"shift","backend":"fly","percent":100}"#).0, 200, "{round}");
        assert_eq!(admin.command(r#"{"command":"rollback"}"#).0, 200, "{round}");
        phase.fetch_add(1, SeqCst);
        for _ in 0..20 {
            assert_eq!(proxy.get("/").text(), "heroku");
        }
        phase.fetch_add(1, SeqCst);
    }
    ending.store(true, SeqCst);
    let found: Vec<_> = visitors.into_iter().map(|visitor| visitor.join().unwrap()).collect();
    assert!(found.iter().all(|(late, closed, _)| (*late, *closed) == (0, 0)), "{found:?}");
    assert!(found.iter().map(|(_, _, checked)| checked).sum::<usize>() > 100, "{found:?}");
}

#[test]
fn commands_never_touch_what_is_in_flight() {
    let fly = Backend::start(|mut peer| {
        while let Some(request) = peer.request() {
            if request.field("upgrade").is_some() {
                peer.send(agreed(""));
                peer.await_word();
                peer.send("after");
                return;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            peer.await_word();
            peer.send(" half");
        }
    });
    let two = Two { heroku: Backend::answering(ok("heroku")), fly };
    let proxy = Proxy::start(&two.at(100, ""));
    let (mut slow, mut tunnel) = (proxy.visit(), proxy.visit());
    slow.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(slow.head().status(), 200);
    tunnel.send(handshake("/", ""));
    assert_eq!(tunnel.head().status(), 101);
    proxy.steer("rollback");
    proxy.steer("mode maintenance");
    two.fly.go_on();
    two.fly.go_on();
    assert_eq!(slow.take(10), b"first half");
    assert_eq!(tunnel.take(5), b"after");
    assert_eq!(slow.get("/").status(), 503, "the connection lives");
}

#[test]
fn maintenance_is_answered_by_us_and_asks_to_come_again() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(50, ""));
    proxy.steer("mode maintenance --route web --reason migration");
    let answer = proxy.get("/");
    assert_eq!((answer.status(), answer.field("x-crossfade-error")), (503, Some("maintenance")));
    assert_eq!(answer.field("retry-after"), Some("30"));
    assert_eq!(proxy.metric("crossfade_mode", &[("route", "web"), ("mode", "maintenance")]), 1.0);
    // The platforms' certificates go on renewing.
    assert_eq!(proxy.get("/.well-known/acme-challenge/token").text(), "heroku");
    proxy.steer("mode open");
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(proxy.metric("crossfade_mode", &[("route", "web"), ("mode", "open")]), 1.0);
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence_and_changes_nothing() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(5, ""));
    for (words, sentence) in [
        ("shift mars 5", "error: `mars` is no backend of the route `web`; there is `fly`, `heroku`\n"),
        ("shift fly 5 --route wep", "error: there is no route `wep`; there is `web`\n"),
        ("shift fly -6", "error: `fly` has 5 % of `web`: -6 would be -1 %; 0 to 100 is possible\n"),
        ("shift fly 10 --if-revision 7", "error: revision 1 is live, not 7: look again, then decide\n"),
        ("undo", "error: there is no change to undo\n"),
        ("undo 77", "error: revision 77 isn't in the history, which begins with 1\n"),
    ] {
        let said = proxy.crossfade(words);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (1, "", sentence), "{words}");
    }
    let said = proxy.crossfade("shift fly 100.5");
    assert_eq!((said.code, said.err.lines().count()), (1, 1), "{said:?}");
    let mut admin = proxy.admin();
    for (body, status, reason) in [
        (r#"{"command":"shift","backend":"mars","percent":5}"#, 422, "unknown_backend"),
        (r#"{"command":"rollback","route":"wep"}"#, 422, "unknown_route"),
        (r#"{"command":"shift","backend":"fly","percent":101}"#, 422, "invalid"),
        (r#"{"command":"rollback","if_revision":0}"#, 409, "stale_revision"),
        (r#"{"command":"sing"}"#, 400, "malformed"),
    ] {
        let (got, answer) = admin.command(body);
        assert_eq!((got, answer["reason"].as_str()), (status, Some(reason)), "{body}");
    }
    assert_eq!(proxy.revision(), 1);
    assert_eq!(proxy.steer("shift fly 5"), "nothing to change\nrevision 1 is live\n");
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(5, ""));
    let said = proxy.steer("shift fly 50 --dry-run");
    assert!(said.starts_with("web: heroku 95 -> 50 %, fly 5 -> 50 %\ndry run:"), "{said}");
    proxy.steer("rollback --dry-run");
    proxy.steer("mode maintenance -n");
    proxy.steer("drain --dry-run");
    assert_eq!((proxy.revision(), proxy.get("/").status()), (1, 200));
}

#[test]
fn of_concurrent_commands_for_one_revision_exactly_one_wins() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(5, ""));
    let barrier = Arc::new(Barrier::new(16));
    let drive = |client: usize| {
        let (mut admin, barrier) = (proxy.admin(), Arc::clone(&barrier));
        thread::spawn(move || {
            let mut won = Vec::new();
            barrier.wait();
            for round in 0..20 {
                let seen = admin.see("status")["revision"].as_u64().unwrap();
                let percent = (client * 100 + round + 1) as f64 / 100.0;
                let body = format!(
                    r#"{{"command":"shift","backend":"fly","percent":{percent},"if_revision":{seen}}}"#
                );
                let (status, answer) = admin.command(&body);
                assert!(matches!(status, 200 | 409), "{status}: {answer}");
                if status == 200 {
                    assert_eq!(answer["revision"], seen + 1);
                    won.push(seen);
                }
            }
            won
        })
    };
    let clients: Vec<_> = (0..16).map(drive).collect();
    let mut won: Vec<u64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    won.sort_unstable();
    assert!(won.len() >= 20 && won == (1..proxy.revision()).collect::<Vec<_>>(), "{won:?}");
}

#[test]
fn the_file_wins_where_it_changes_what_was_overridden() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(5, ""));
    proxy.steer("shift fly 50");
    let file = proxy.config_path();
    let text = fs::read_to_string(&file).unwrap();
    let exported = proxy.steer("export");
    assert!(exported.contains("weights = { heroku = 50, fly = 50 }"), "{exported}");
    // Something else changes: the override stays.
    fs::write(&file, format!("{text}\n[limits]\nbody_size = \"1MB\"\n")).unwrap();
    proxy.wait_for_metric("crossfade_revision", &[], 3.0);
    assert_eq!(proxy.metric("crossfade_weight_ratio", &[("backend", "fly")]), 0.5);
    assert!(proxy.steer("diff").contains("heroku 95 -> 50 %"));
    fs::write(&file, text.replace("heroku = 95, fly = 5", "heroku = 90, fly = 10")).unwrap();
    proxy.wait_for_event("override.lifted");
    assert_eq!(proxy.metric("crossfade_weight_ratio", &[("backend", "fly")]), 0.1);
    assert_eq!(proxy.admin().see("diff")["changes"].as_array().unwrap().len(), 0);
}

#[test]
fn a_reload_says_what_is_wrong_with_the_file_and_a_rollback_does_not_mind() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(100, ""));
    let file = proxy.config_path();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("stable = \"heroku\"", "stable = \"mars\"")).unwrap();
    let said = proxy.crossfade("reload");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("there is no backend `mars`") && said.err.contains("-->"), "{}", said.err);
    let by_broken_file = proxy.directory.path().join("broken.toml");
    let state = proxy.state();
    fs::write(&by_broken_file, format!("[state]\ndir = {state:?}\n[[routes]\nweights = {{")).unwrap();
    let mut command = crate::kit::proxy::program();
    let done = command.args(["rollback", "--config"]).arg(&by_broken_file).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(proxy.get("/").text(), "heroku");
    fs::write(&file, text).unwrap();
    let said = proxy.steer("reload");
    assert!(said.contains("is live"), "{said}");
}

#[test]
fn a_drain_by_command_ends_the_process_well() {
    let two = Two::start();
    let mut proxy = Proxy::start(&two.at(5, ""));
    let said = proxy.steer("drain");
    assert!(said.contains("finishes what is in flight"), "{said}");
    assert_eq!(proxy.exit_code(), 0);
    assert!(!proxy.state().join("admin.sock").exists());
    let said = proxy.crossfade("rollback");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("admin.sock") && said.err.contains("crossfade run"), "{}", said.err);
}
