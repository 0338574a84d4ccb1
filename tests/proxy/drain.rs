//! SIGTERM ends the program without ending anybody's request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::kit::proxy::program;
use crate::kit::{Backend, Config, Proxy, Visitor, ok, wait_until};

/// Answers at once, but for `/slow`: its answer's second half waits for a word.
fn slow() -> Backend {
    Backend::start(|mut peer| {
        while let Some(request) = peer.request() {
            if request.target() == "/slow" {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
                peer.await_word();
                peer.send("later");
            } else {
                peer.send(ok("hello"));
            }
        }
    })
}

#[test]
fn what_is_in_flight_ends_whole_and_then_the_process() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.next();
    proxy.signal("TERM");
    proxy.wait_for_event("drain.started");
    backend.go_on();
    let response = visitor.response();
    assert!(response.whole && response.text() == "firstlater", "{response:?}");
    assert!(visitor.is_closed_cleanly());
    let record = proxy.record();
    assert_eq!((&record["path"], &record["reason"]), (&"/slow".into(), &serde_json::Value::Null));
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn nobody_new_is_let_in_and_readiness_says_so() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend));
    assert_eq!(proxy.told_at("/readyz"), (200, "ready\nrevision 1\n".to_owned()));
    let mut visitor = proxy.visit();
    visitor.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.next();
    proxy.signal("TERM");
    proxy.wait_for_event("drain.started");
    wait_until("new connections are refused", || TcpStream::connect(proxy.address).is_err());
    let (status, body) = proxy.told_at("/readyz");
    assert_eq!((status, body.starts_with("draining")), (503, true));
    assert_eq!(proxy.told_at("/healthz").0, 200, "it lives");
    backend.go_on();
    assert!(visitor.response().whole);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn a_kept_connection_hears_of_the_end_with_its_next_answer() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    assert_eq!(visitor.get("/").field("connection"), None);
    proxy.signal("TERM");
    proxy.wait_for_event("drain.started");
    wait_until("new connections are refused", || TcpStream::connect(proxy.address).is_err());
    let response = visitor.get("/");
    assert_eq!((response.status(), response.field("connection")), (200, Some("close")));
    assert!(visitor.is_closed_cleanly());
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn idle_connections_are_closed_and_hold_nothing_up() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend).server("workers = 2"));
    let mut visitors: Vec<_> = (0..6).map(|_| proxy.visit()).collect();
    visitors.iter_mut().for_each(|visitor| assert_eq!(visitor.get("/").status(), 200));
    let began = Instant::now();
    assert_eq!(proxy.terminate(), 0);
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    assert!(visitors.iter_mut().all(Visitor::is_closed_cleanly));
}

#[test]
fn with_nobody_there_it_ends_at_once() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend));
    let began = Instant::now();
    assert_eq!(proxy.terminate(), 0);
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
}

#[test]
fn what_does_not_end_in_time_is_cut_off_and_recorded() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend).server("drain_timeout = \"300ms\""));
    let mut visitor = proxy.visit();
    visitor.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.next();
    assert_eq!(visitor.head().status(), 200);
    let began = Instant::now();
    proxy.signal("TERM");
    let event = proxy.wait_for_event("drain.ended");
    assert!(event.contains("cut=1"), "{event}");
    assert_eq!(proxy.exit_code(), 0);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "it took {took:?}");
    assert!(visitor.rest().len() < 10, "cut, not completed");
    let record = proxy.record();
    assert_eq!((&record["path"], &record["reason"]), (&"/slow".into(), &"drained".into()), "recorded, too");
}

#[test]
fn a_unix_socket_is_served_like_any_other_and_gone_in_the_end() {
    let backend = slow();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let text = Config::of(&backend).text();
    let both = format!("http = [\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    std::fs::write(directory.path().join("crossfade.toml"), text.replace("http = \"127.0.0.1:0\"", &both))
        .unwrap();
    let file = directory.path().join("crossfade.toml");
    let mut proxy = Proxy::start_in(directory, &file);
    let mut socket = UnixStream::connect(&path).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(backend.next().field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(proxy.terminate(), 0);
    assert!(!path.exists());
}

#[test]
fn an_interrupt_drains_as_well() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend));
    assert_eq!(proxy.get("/").status(), 200);
    proxy.signal("INT");
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn every_record_is_written_before_the_end() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend).server("workers = 2"));
    for _ in 0..50 {
        let mut visitor = proxy.visit();
        visitor.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(visitor.response().status(), 200);
    }
    assert_eq!(proxy.terminate(), 0);
    (0..50).for_each(|_| assert_eq!(proxy.record()["status"], 200));
}

/// What a container's health check, or a person's script, asks.
#[test]
fn health_is_an_exit_code() {
    let backend = slow();
    let mut proxy = Proxy::start(&Config::of(&backend));
    let address = proxy.metrics.to_string();
    let health = |words: &[&str]| {
        let outcome = program().arg("health").args(words).output().unwrap();
        let said = [outcome.stdout, outcome.stderr].concat();
        (outcome.status.code(), String::from_utf8(said).unwrap())
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.toml");
    std::fs::write(&file, format!("[routes\nx = \n[server]\nmetrics = \"{address}\"\n")).unwrap();
    let by_file = ["--config", file.to_str().unwrap()];
    assert_eq!(health(&["--metrics", &address]), (Some(0), "ready\nrevision 1\n".to_owned()));
    assert_eq!(health(&by_file).0, Some(0), "whatever somebody has made of the file since");

    let mut visitor = proxy.visit();
    visitor.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.next();
    proxy.signal("TERM");
    proxy.wait_for_event("drain.started");
    let (code, said) = health(&["--metrics", &address]);
    assert_eq!((code, said.starts_with("error: draining")), (Some(1), true), "{said}");
    assert_eq!(health(&["--metrics", &address, "--live"]).0, Some(0));
    backend.go_on();
    assert!(visitor.response().whole);
    assert_eq!(proxy.exit_code(), 0);
    let (code, said) = health(&by_file);
    assert_eq!((code, said.contains("nobody answers at http://")), (Some(1), true), "{said}");
    let (code, said) = health(&["--config", "/nowhere.toml"]);
    assert_eq!((code, said.contains("--metrics ADDRESS")), (Some(1), true), "{said}");
}
