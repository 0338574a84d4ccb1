//! A visitor's connection over its life: nothing of it is lost, and it never outlives its use.

use std::time::{Duration, Instant};

use crate::kit::{Backend, Config, Proxy, Visitor, ok, pause};

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
