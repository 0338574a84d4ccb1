//! A visitor's connection over its life: nothing of it is lost, and it never outlives its use.

use std::time::{Duration, Instant};

use crate::kit::{Backend, Config, Proxy, Visitor, ok, pause, wait_until};

/// A connection that had waited for one long answer was never closed again, whatever `keep_alive` said.
#[test]
fn an_idle_connection_is_closed_also_after_a_long_answer() {
    let backend = Backend::start(|mut peer| {
        while peer.request().is_some() {
            peer.await_word();
            peer.send(ok("late"));
        }
    });
    let config = Config::of(&backend).section("[timeouts]\nkeep_alive = \"300ms\"\nrequest_head = \"200ms\"");
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.next();
    // The timers that stood when the request came are over by then.
    pause(Duration::from_millis(700));
    backend.go_on();
    assert_eq!(visitor.response().text(), "late");
    let began = Instant::now();
    assert!(visitor.is_closed_cleanly());
    let took = began.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&took), "{took:?}");
}

/// hyper drops a request whose connection has ended before it looks at what answers it.
#[test]
fn a_request_with_the_end_right_behind_it_leaves_a_record() {
    let backend = Backend::answering(ok("hello"));
    let proxy = Proxy::start(&Config::of(&backend));
    for _ in 0..20 {
        let mut visitor = proxy.visit();
        visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        visitor.half_close();
        let _ = visitor.rest();
        let status = proxy.record()["status"].as_u64();
        assert!(matches!(status, Some(200 | 499)), "{status:?}");
    }
}

/// What hyper had buffered when the connection counted as idle was cut off, and recorded as whole. Which size that
/// is depends on what the kernel takes: little here, since a machine short of memory for sockets drops what it has
/// taken, and sends it again ever later.
#[test]
fn slow_readers_get_the_end_of_a_body_after_keep_alive() {
    let backend = Backend::start(|mut peer| {
        // Whoever is answered early leaves a connection to the pool, for another to use.
        while let Some(request) = peer.request() {
            let size: usize = request.target()[1..].parse().unwrap();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
            peer.send(vec![b'y'; size]);
        }
    });
    let proxy = Proxy::start(&Config::of(&backend).section("[timeouts]\nkeep_alive = \"100ms\""));
    let sizes = (0..40).map(|step| 16 * 1024 * (step + 1));
    let readers: Vec<(usize, Visitor)> = sizes
        .map(|size| {
            let mut visitor = proxy.visit_narrowly();
            visitor.send(format!("GET /{size} HTTP/1.1\r\nHost: a\r\n\r\n"));
            (size, visitor)
        })
        .collect();
    pause(Duration::from_millis(800));
    for (size, mut visitor) in readers {
        assert_eq!(visitor.head().status(), 200);
        let mut left = size;
        while left > 0 {
            let read = visitor.discard();
            assert!(read > 0, "{left} bytes of {size} are missing");
            left = left.saturating_sub(read);
        }
    }
}

/// An empty line behind a request, late, counted as the begin of a head: the visitor got a 408 for nothing.
#[test]
fn an_empty_line_to_a_connection_at_rest_is_nothing() {
    let backend = Backend::answering(ok("hello"));
    let proxy = Proxy::start(&Config::of(&backend).section("[timeouts]\nrequest_head = \"300ms\""));
    let mut visitor = proxy.visit();
    assert_eq!(visitor.get("/").text(), "hello");
    pause(Duration::from_millis(1500));
    visitor.send("\r\n");
    assert!(visitor.is_silent_for(Duration::from_millis(900)));
    assert_eq!(visitor.get("/").text(), "hello");
}

/// How many of the proxy's connections are a socket alone: its workers' lists of those ask for readiness by level, by
/// which they differ from the runtime's (proc_pid_fdinfo(5)).
fn parked(proxy: &Proxy) -> usize {
    let of_each = std::fs::read_dir(format!("/proc/{}/fdinfo", proxy.pid())).expect("it runs");
    let texts = of_each.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    texts.map(|text| text.matches("events:     2019 ").count()).sum()
}

#[test]
fn who_was_silent_for_a_while_is_served_as_before() {
    let backend = Backend::answering(ok("here"));
    let proxy = Proxy::start(&Config::of(&backend).section("[timeouts]\nkeep_alive = \"4s\""));
    let mut visitor = proxy.visit();
    for (first, second) in
        [("GET / HTTP/1.1\r\nHost: a\r\n", "\r\n"), ("G", "ET / HTTP/1.1\r\nHost: a\r\n\r\n")]
    {
        assert_eq!(visitor.get("/").text(), "here");
        wait_until("it is parked", || parked(&proxy) == 1);
        visitor.send(first);
        wait_until("it is heard", || parked(&proxy) == 0);
        visitor.send(second);
        assert_eq!(visitor.response().text(), "here");
    }
    assert_eq!(backend.seen().len(), 4);
    wait_until("it is parked", || parked(&proxy) == 1);
    proxy.wait_for_metric("crossfade_connections_open", &[], 1.0);
    drop(visitor);
    proxy.wait_for_metric("crossfade_connections_open", &[], 0.0);
}

#[test]
fn who_is_silent_for_too_long_is_closed_when_parked_too() {
    let backend = Backend::answering(ok("here"));
    let proxy = Proxy::start(&Config::of(&backend).section("[timeouts]\nkeep_alive = \"1600ms\""));
    let mut visitors: Vec<_> = (0..20).map(|_| proxy.visit()).collect();
    visitors.iter_mut().for_each(|visitor| assert!(visitor.get("/").whole));
    let began = Instant::now();
    wait_until("all are parked", || parked(&proxy) == 20);
    assert!(visitors.iter_mut().all(Visitor::is_closed_cleanly));
    let took = began.elapsed();
    assert!((Duration::from_millis(1200)..Duration::from_secs(4)).contains(&took), "{took:?}");
    proxy.wait_for_metric("crossfade_connections_open", &[], 0.0);
}

/// Its head came just before all who are silent are closed.
#[test]
fn a_drain_closes_those_who_are_parked_and_answers_who_has_asked() {
    let backend = Backend::answering(ok("here"));
    let timeouts = "[timeouts]\nkeep_alive = \"16s\"";
    let mut proxy = Proxy::start(&Config::of(&backend).section(timeouts));
    let (mut silent, mut asks) = (proxy.visit(), proxy.visit());
    assert!(silent.get("/").whole && asks.get("/").whole);
    wait_until("both are parked", || parked(&proxy) == 2);
    proxy.signal("TERM");
    proxy.wait_for_event("drain.started");
    assert_eq!(asks.get("/").field("connection"), Some("close"));
    assert!(asks.is_closed_cleanly() && silent.is_closed_cleanly());
    assert_eq!(proxy.exit_code(), 0);
}
