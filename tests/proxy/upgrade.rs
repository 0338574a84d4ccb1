//! One process takes over from another: nobody is refused, nothing is forgotten, and a bad one changes nothing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::control::Two;
use crate::kit::http2_client::Http2;
use crate::kit::succession::{asked, pid_of};
use crate::kit::websocket::{CLOSE, RESTART, agreed, frame, handshake, masked};
use crate::kit::{Backend, Config, Proxy, Visitor, ok, pause};

#[test]
fn another_process_serves_and_the_old_one_ends() {
    let two = Two::start();
    let mut proxy = Proxy::replaceable(&two.at(5, "").server("drain_timeout = \"20s\""));
    let (mut kept, old) = (proxy.visit(), proxy.pid());
    assert_eq!(kept.get("/").field("connection"), None);
    let told = proxy.steer("upgrade --reason release");
    let new = pid_of(&told);
    assert!(new != old && told.contains(&format!("process {old} finishes")), "{told}");
    assert!(told.contains("version 0.1.0") && told.ends_with("revision 2 is live\n"), "{told}");
    assert_eq!(proxy.get("/").status(), 200);
    let last = kept.get("/");
    assert_eq!((last.status(), last.field("connection")), (200, Some("close")), "and the next is another's");
    assert_eq!(proxy.first_exit_code(), 0);
    assert_eq!(proxy.told_at("/readyz"), (200, "ready\nrevision 2\n".to_owned()));
    proxy.wait_for_metric("crossfade_draining_processes", &[], 0.0);
    assert_eq!(proxy.metric("crossfade_upgrades_total", &[("result", "success")]), 1.0);
    assert_eq!(
        proxy.metric("crossfade_commands_total", &[("command", "upgrade"), ("result", "applied")]),
        1.0
    );
    assert_eq!(proxy.metric("crossfade_requests_total", &[("code", "200")]), 3.0, "of both");
    let next = proxy.upgrade();
    assert!(next != new);
    assert_eq!(proxy.get("/").status(), 200);
}

/// What was live is live: with a state directory, and what could be undone can be.
#[test]
fn what_commands_have_changed_goes_on() {
    let two = Two::start();
    let proxy = Proxy::replaceable(&two.at(5, ""));
    proxy.steer("shift fly 100 --reason canary");
    proxy.upgrade();
    assert_eq!(proxy.get("/").text(), "fly");
    let history = proxy.steer("history");
    assert!(history.contains("canary") && history.contains("upgrade"), "{history}");
    proxy.steer("undo");
    assert_eq!(proxy.revision(), 4);
    proxy.upgrade();
    proxy.steer("rollback");
    assert_eq!(proxy.get("/").text(), "heroku");
    assert_eq!(proxy.metric("crossfade_state_kept", &[]), 1.0);
    let proxy = proxy.restart();
    assert!(proxy.admin().see("status")["routes"][0]["rolled_back"].as_bool().unwrap(), "it was kept");
}

/// What is in the journal of nobody.
#[test]
fn without_a_state_directory_what_was_live_goes_on_too() {
    let two = Two::start();
    let token = "0123456789abcdef0123456789abcdef";
    let text = two.at(0, "").text().replace("[state]\ndir = \"@DIRECTORY@/state\"", "");
    let text = text.replace("workers = 1", "workers = 1\nadmin = \"127.0.0.1:0\"");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("crossfade.toml");
    std::fs::write(&file, text).unwrap();
    let mut program = crate::kit::proxy::program();
    std::os::unix::process::CommandExt::process_group(&mut program, 0);
    program.env("CROSSFADE_ADMIN_TOKEN", token);
    let mut proxy = Proxy::start_by(program, directory, &file);
    let bound = proxy.wait_for_event("(admin)");
    let (_, address) = bound.split_once("http://").unwrap();
    let url = format!("http://{}", address.split_whitespace().next().unwrap());
    let steer = |words: &str| {
        let mut command = crate::kit::proxy::program();
        command.args(words.split_whitespace()).args(["--admin", &url]).env("CROSSFADE_ADMIN_TOKEN", token);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    steer("shift fly 100");
    proxy.signal("USR2");
    assert_eq!(proxy.first_exit_code(), 0);
    assert_eq!(proxy.get("/").text(), "fly");
    assert!(steer("history").contains("shift fly 100%"));
    steer("undo");
    assert_eq!(proxy.get("/").text(), "heroku");
}

/// Who keeps asking, and counts what comes back.
struct Crowd {
    ending: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    visitors: Vec<thread::JoinHandle<()>>,
}

impl Crowd {
    fn of(address: SocketAddr) -> Self {
        let mut crowd = Self { ending: Arc::default(), answered: Arc::default(), visitors: Vec::new() };
        for number in 0..6 {
            let (ending, answered) = (Arc::clone(&crowd.ending), Arc::clone(&crowd.answered));
            crowd.visitors.push(thread::spawn(move || match number {
                0 => ask_by_http2(address, &ending, &answered),
                1 => ask_anew(address, &ending, &answered),
                _ => ask_on(address, &ending, &answered),
            }));
        }
        crowd
    }

    /// How many answers there were.
    fn end(self) -> usize {
        self.ending.store(true, SeqCst);
        self.visitors.into_iter().for_each(|visitor| visitor.join().expect("everybody was served"));
        self.answered.load(SeqCst)
    }
}

/// On one connection as long as the answers let it.
fn ask_on(address: SocketAddr, ending: &AtomicBool, answered: &AtomicUsize) {
    let mut visitor = Visitor::connect(address);
    while !ending.load(SeqCst) {
        let answer = visitor.get("/");
        assert_eq!(answer.status(), 200);
        answered.fetch_add(1, SeqCst);
        if answer.field("connection") == Some("close") {
            visitor = Visitor::connect(address);
        }
    }
}

fn ask_anew(address: SocketAddr, ending: &AtomicBool, answered: &AtomicUsize) {
    while !ending.load(SeqCst) {
        let mut visitor = Visitor::connect(address);
        visitor.send("GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n");
        assert_eq!(visitor.response().status(), 200);
        answered.fetch_add(1, SeqCst);
    }
}

/// A connection that is told to leave is left; no request on it may be lost.
fn ask_by_http2(address: SocketAddr, ending: &AtomicBool, answered: &AtomicUsize) {
    let mut visitor = Http2::connect(address);
    while !ending.load(SeqCst) {
        if visitor.is_told_to_leave() {
            visitor = Http2::connect(address);
        }
        match visitor.ask(crate::kit::http2_client::get("/")) {
            Ok(answer) => {
                assert_eq!(answer.status, 200);
                answered.fetch_add(1, SeqCst);
            }
            // It was told while we asked: the request was never begun.
            Err(error) => {
                assert!(error.is_go_away() || error.is_library(), "{error:?}");
                visitor = Http2::connect(address);
            }
        }
    }
}

/// Every sum of the metrics' text.
fn sums(text: &str) -> BTreeMap<String, f64> {
    let is_sum = |name: &str| ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
    let lines = text.lines().filter(|line| line.starts_with("crossfade_"));
    let sums = lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(key, _)| is_sum(key.split_once('{').map_or(*key, |(name, _)| name)));
    sums.map(|(key, value)| (key.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn nobody_is_refused_and_no_count_goes_down() {
    let backend = Backend::start(|mut peer| {
        while let Some(request) = peer.request() {
            if request.field("upgrade").is_some() {
                peer.send(agreed(""));
                return peer.echo();
            }
            peer.send(ok("hello"));
        }
    });
    let proxy =
        Proxy::replaceable(&Config::of(&backend).kept().server("workers = 2\ndrain_timeout = \"3s\""));
    let mut tunnel = proxy.visit();
    tunnel.send(handshake("/cable", ""));
    assert_eq!(tunnel.head().status(), 101);
    let crowd = Crowd::of(proxy.address);
    let mut before = BTreeMap::new();
    let mut look = || {
        let (status, text) = proxy.told_at("/metrics");
        let now = sums(&text);
        assert_eq!(status, 200);
        for (key, value) in &before {
            assert!(now.get(key).is_some_and(|now| now >= value), "{key}: {value}, then {:?}", now.get(key));
        }
        before = now;
    };
    for _ in 0..3 {
        (0..10).for_each(|_| look());
        proxy.wait_for_metric("crossfade_draining_processes", &[], 0.0);
        proxy.upgrade();
        (0..10).for_each(|_| look());
        tunnel.send(masked(1, b"still here"));
        // The first of them has it for nearly all of its time.
        if proxy.metric("crossfade_upgrades_total", &[("result", "success")]) < 2.0 {
            assert_eq!(tunnel.take(16), masked(1, b"still here"));
            assert_eq!(tunnel.take(4), frame(CLOSE, &RESTART));
            tunnel.send(masked(CLOSE, &RESTART));
        }
    }
    let answered = crowd.end();
    proxy.wait_for_metric("crossfade_draining_processes", &[], 0.0);
    look();
    let counted = proxy.metric("crossfade_requests_total", &[("code", "200")]);
    assert_eq!(counted as usize, answered, "each is counted once, whoever served it");
    let timed = proxy.metric("crossfade_request_duration_seconds_count", &[("backend", "only")]);
    assert_eq!(timed as usize, answered + 1, "the tunnel, too");
}

/// Every way in which a program can be no good, and what is said of it.
#[test]
fn a_bad_program_changes_nothing() {
    let two = Two::start();
    let proxy = Proxy::replaceable(&two.at(5, ""));
    proxy.steer("shift fly 100");
    let crowd = Crowd::of(proxy.address);
    let bad = [
        ("exit 3", "exit status: 3"),
        ("exec /nowhere/crossfade", "exit status: 127"),
        ("kill -SEGV $$", "signal: 11"),
        ("cat >/dev/null; exit 1", "wasn't ready to serve within 12 s"),
        ("exec \"$CROSSFADE\" check --config /nowhere", "exit status: "),
    ];
    for (round, (script, why)) in bad.into_iter().enumerate() {
        proxy.replace_program(script);
        let said = proxy.crossfade("upgrade");
        assert_eq!(said.code, 1, "{script}: {said:?}");
        assert!(
            said.err.starts_with("error: the new process") && said.err.contains(why),
            "{script}: {said:?}"
        );
        assert!(proxy.wait_for_event("upgrade.failed").contains("serves on"), "{script}");
        let failed = proxy.metric("crossfade_upgrades_total", &[("result", "failure")]);
        assert_eq!(failed as usize, round + 1, "{script}");
    }
    std::fs::remove_file(proxy.directory.path().join("crossfade")).unwrap();
    // Without a file at its place, what is running is started again.
    proxy.steer("upgrade --dry-run");
    crowd.end();
    assert_eq!(proxy.get("/").text(), "fly");
    proxy.steer("undo");
    assert_eq!((proxy.metric("crossfade_state_kept", &[]), proxy.revision()), (1.0, 3));
}

#[test]
fn a_bad_configuration_is_told_with_every_problem_and_changes_nothing() {
    let two = Two::start();
    let proxy = Proxy::replaceable(&two.at(5, ""));
    let file = proxy.config_path();
    let good = std::fs::read_to_string(&file).unwrap();
    let broken = good.replace("stable = \"heroku\"", "stable = \"heruko\"\nstikcy = \"none\"");
    std::fs::write(&file, broken).unwrap();
    let said = proxy.crossfade("upgrade");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("heruko") && said.err.contains("stikcy"), "{said:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = format!("http = \"{}\"", taken.local_addr().unwrap());
    std::fs::write(&file, good.replace("http = \"127.0.0.1:0\"", &http)).unwrap();
    let said = proxy.crossfade("upgrade");
    assert!(said.err.contains("can't listen on") && said.err.contains("another port"), "{said:?}");
    assert_eq!(proxy.get("/").status(), 200);
    std::fs::write(&file, good).unwrap();
    proxy.upgrade();
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn a_dry_run_finds_out_and_changes_nothing() {
    let two = Two::start();
    let proxy = Proxy::replaceable(&two.at(5, ""));
    let told = proxy.steer("upgrade --dry-run");
    assert!(told.contains("could take over") && told.contains("nothing changed"), "{told}");
    assert_eq!((proxy.revision(), proxy.metric("crossfade_upgrades_total", &[])), (1, 0.0));
    proxy.replace_program("exit 1");
    assert_eq!(proxy.crossfade("upgrade --dry-run").code, 1);
    proxy.steer("shift fly 30");
}

/// A rollback is never held up by a program that takes its time, and there is one upgrade at a time.
#[test]
fn one_at_a_time_and_nobody_waits_for_it() {
    let two = Two::start();
    let proxy = Proxy::replaceable(&two.at(100, ""));
    let directory = proxy.directory.path().display().to_string();
    let real = env!("CARGO_BIN_EXE_crossfade");
    proxy.replace_program(&format!("while [ ! -e {directory}/go ]; do sleep 0.02; done; exec {real} \"$@\""));
    thread::scope(|scope| {
        let first = scope.spawn(asked(&proxy, "upgrade"));
        proxy.wait_for_event("upgrade.begun");
        let said = proxy.crossfade("upgrade");
        assert!(said.code == 1 && said.err.contains("under way already"), "{said:?}");
        proxy.steer("rollback");
        assert_eq!(proxy.get("/").text(), "heroku");
        std::fs::write(proxy.directory.path().join("go"), "").unwrap();
        assert_eq!(first.join().unwrap().code, 0);
    });
    assert_eq!(proxy.get("/").text(), "heroku", "what was changed meanwhile goes on, too");
}

/// Old processes pile up where each is kept alive by a visitor who never leaves.
#[test]
fn no_more_than_two_drain_at_a_time() {
    let backend = Backend::start(|mut peer| {
        peer.request();
        peer.send(agreed(""));
        peer.echo();
    });
    let proxy = Proxy::replaceable(&Config::of(&backend).kept().server("drain_timeout = \"60s\""));
    let mut open = Vec::new();
    for behind in 1..=2 {
        let mut tunnel = proxy.visit();
        tunnel.send(handshake("/cable", ""));
        assert_eq!(tunnel.head().status(), 101);
        open.push(tunnel);
        proxy.upgrade();
        proxy.wait_for_metric("crossfade_draining_processes", &[], f64::from(behind));
    }
    let said = proxy.crossfade("upgrade");
    assert!(said.code == 1 && said.err.contains("2 processes before this one still drain"), "{said:?}");
    open.clear();
    proxy.wait_for_metric("crossfade_draining_processes", &[], 0.0);
    proxy.upgrade();
}

#[test]
fn a_unix_socket_stays_at_its_place() {
    let backend = Backend::answering(ok("hello"));
    let config = Config::of(&backend).kept();
    let listen = "http = [\"127.0.0.1:0\", \"unix:@DIRECTORY@/http.sock\"]";
    let mut proxy = Proxy::replaceable(&config.listening(listen));
    let path = proxy.directory.path().join("http.sock");
    let ask = || {
        let mut socket = UnixStream::connect(&path).unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
    };
    ask();
    proxy.upgrade();
    ask();
    assert_eq!(proxy.first_exit_code(), 0);
    ask();
    proxy.steer("status");
}

/// Idle connections are closed late, so that hardly anybody's next request crosses the close.
#[test]
fn an_idle_visitor_is_left_alone_for_half_of_the_time() {
    let backend = Backend::answering(ok("hello"));
    let mut proxy = Proxy::replaceable(&Config::of(&backend).kept().server("drain_timeout = \"5s\""));
    let (mut idle, mut late) = (proxy.visit(), proxy.visit());
    idle.get("/");
    late.get("/");
    proxy.upgrade();
    pause(Duration::from_millis(1500));
    assert_eq!(late.get("/").field("connection"), Some("close"), "a second would have been too short");
    assert!(idle.is_closed_cleanly());
    assert_eq!(proxy.first_exit_code(), 0);
}

/// Everybody is told, and those who are asked to hurry do.
#[test]
fn a_process_that_drains_for_another_can_be_hurried() {
    let backend = Backend::answering(ok("hello"));
    let mut proxy = Proxy::replaceable(&Config::of(&backend).kept().server("drain_timeout = \"60s\""));
    let mut idle = proxy.visit();
    idle.get("/");
    proxy.upgrade();
    assert!(TcpStream::connect(proxy.address).is_ok());
    proxy.signal("TERM");
    assert!(idle.is_closed_cleanly());
    assert_eq!(proxy.first_exit_code(), 0);
    assert_eq!(proxy.get("/").status(), 200);
}
