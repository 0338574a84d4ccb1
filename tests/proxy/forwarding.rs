//! Requests and responses pass whole, in both directions, at the pace of whoever is slower.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::kit::{Backend, Config, DEADLINE, Proxy, ok, pause, wait_until};

const MIB: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_millis(300);

fn echo() -> (Backend, Proxy) {
    let backend = Backend::by(|request| ok(&request.text()));
    let proxy = Proxy::start(&Config::of(&backend));
    (backend, proxy)
}

fn before(answer: &str) -> (Backend, Proxy) {
    let backend = Backend::answering(answer);
    let proxy = Proxy::start(&Config::of(&backend));
    (backend, proxy)
}

#[test]
fn a_get_reaches_the_backend_and_its_answer_the_visitor() {
    let (backend, proxy) = before(
        "HTTP/1.1 201 Made\r\nContent-Type: text/x\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: 5\r\n\r\nhello",
    );
    let response = proxy.get("/a/b?c=d&e=%20f");
    assert_eq!((response.status(), response.text().as_str()), (201, "hello"));
    assert_eq!(response.field("content-type"), Some("text/x"));
    assert_eq!(response.fields("x-one"), ["1", "2"]);
    let request = backend.next();
    assert_eq!(request.line(), "GET /a/b?c=d&e=%20f HTTP/1.1");
    assert_eq!((request.fields("content-length").len(), request.fields("transfer-encoding").len()), (0, 0));
}

#[test]
fn methods_pass_by_name_known_or_not() {
    let (backend, proxy) = before(&ok("hello"));
    let mut visitor = proxy.visit();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "BREW", "get"] {
        visitor.send(format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(visitor.response().text(), "hello");
        assert_eq!(backend.next().line(), format!("{method} /x HTTP/1.1"));
    }
}

#[test]
fn targets_in_absolute_form_and_asterisks_are_put_as_a_server_expects_them() {
    let (backend, proxy) = before(&ok("hello"));
    let mut visitor = proxy.visit();
    visitor.send("GET http://b.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(visitor.response().status(), 200);
    let request = backend.next();
    assert_eq!((request.target(), request.field("x-forwarded-host")), ("/x?y", Some("b.example")));
    visitor.send("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(visitor.response().status(), 200);
    assert_eq!(backend.next().target(), "*");
}

#[test]
fn a_head_has_the_length_of_a_body_that_never_comes() {
    let (_backend, proxy) = before("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    let mut visitor = proxy.visit();
    for _ in 0..3 {
        visitor.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(visitor.response_to("HEAD").field("content-length"), Some("12345"));
    }
}

#[test]
fn answers_without_a_body_have_none() {
    for answer in
        ["HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"]
    {
        let (_backend, proxy) = before(answer);
        let mut visitor = proxy.visit();
        for _ in 0..3 {
            let response = visitor.get("/");
            assert_eq!(response.line(), answer.lines().next().unwrap());
            assert_eq!(response.fields("transfer-encoding").len(), 0);
            if response.status() == 204 {
                assert_eq!(response.fields("content-length").len(), 0, "RFC 9110 section 8.6");
            }
        }
    }
}

#[test]
fn a_body_keeps_its_length_and_chunks_stay_chunks() {
    let (backend, proxy) = echo();
    let mut visitor = proxy.visit();
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(visitor.response().text(), "hello");
    let request = backend.next();
    assert_eq!((request.field("content-length"), request.field("transfer-encoding")), (Some("5"), None));
    visitor.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         2;x=y\r\nhe\r\n003\r\nllo\r\n0\r\n\r\n",
    );
    assert_eq!(visitor.response().text(), "hello");
    let request = backend.next();
    assert_eq!(
        (request.field("content-length"), request.field("transfer-encoding")),
        (None, Some("chunked"))
    );
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(visitor.response().text(), "hello");
    assert_eq!(backend.next().field("content-length"), Some("5"), "equal lengths become one");
}

#[test]
fn chunks_reach_the_visitor_as_they_come() {
    let backend = Backend::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        peer.request();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(visitor.head().field("transfer-encoding"), Some("chunked"));
    wait_until("the first chunk comes before there is a second", || visitor.has_received("first"));
}

#[test]
fn trailers_pass_both_ways() {
    let backend = Backend::start(|mut peer| {
        while peer.request().is_some() {
            peer.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
            );
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    // A POST takes a connection that has carried two exchanges, however fast they follow each other.
    for _ in 0..2 {
        visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(visitor.response().text(), "ok");
        backend.next();
    }
    for _ in 0..3 {
        visitor.send(
            "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Check\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Check: 9\r\n\r\n",
        );
        let response = visitor.response();
        assert_eq!(
            (response.text().as_str(), response.trailers.to_lowercase().as_str()),
            ("ok", "x-sum: 7\n")
        );
        let request = backend.next();
        let trailers = request.trailers.to_lowercase();
        assert_eq!((request.text().as_str(), trailers.as_str()), ("hello", "x-check: 9\n"));
        assert_eq!(request.field("te"), Some("trailers"));
    }
    assert_eq!(backend.accepted(), 1, "trailers leave the connection reusable");
}

#[test]
fn trailers_never_forge_fields() {
    let (backend, proxy) = echo();
    let mut visitor = proxy.visit();
    visitor.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Forwarded-For, X-Good\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\nX-Forwarded-For: 6.6.6.6\r\nHost: evil\r\nContent-Length: 7\r\nX-Good: 1\r\n\r\n",
    );
    assert_eq!(visitor.response().status(), 200);
    assert_eq!(backend.next().trailers.to_lowercase(), "x-good: 1\n");
}

#[test]
fn sixty_four_mebibytes_each_way_cost_no_memory() {
    let backend = Backend::start(|mut peer| {
        peer.head();
        let mut left = 64 * MIB;
        while left > 0 {
            let read = peer.discard();
            assert!(read > 0, "the upload broke off");
            left = left.saturating_sub(read);
        }
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 * MIB));
        let piece = vec![b'y'; MIB];
        assert!((0..64).all(|_| peer.send(&piece)));
        peer.hang();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let before = proxy.memory();
    let mut visitor = proxy.visit();
    visitor.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 * MIB));
    let piece = vec![b'x'; MIB];
    assert!((0..64).all(|_| visitor.send(&piece)));
    let during = proxy.memory();
    assert_eq!(visitor.head().status(), 200);
    let mut left = 64 * MIB;
    while left > 0 {
        let read = visitor.discard();
        assert!(read > 0, "the download broke off");
        left -= read;
    }
    let after = proxy.memory();
    let grown = during.max(after).saturating_sub(before);
    println!("memory grew by {} KiB", grown / 1024);
    assert!(grown < 20 * MIB, "grew by {grown} bytes");
    proxy.wait_for_metric(
        "crossfade_bytes_total",
        &[("backend", "only"), ("direction", "in")],
        (64 * MIB) as f64,
    );
    proxy.wait_for_metric(
        "crossfade_bytes_total",
        &[("backend", "only"), ("direction", "out")],
        (64 * MIB) as f64,
    );
}

#[test]
fn a_backend_that_does_not_read_holds_the_visitor_back() {
    let backend = Backend::start(|mut peer| {
        peer.head();
        peer.stall(Duration::from_secs(5));
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let before = proxy.memory();
    let mut visitor = proxy.visit();
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let sent = visitor.send_until_stalled(100_000_000, PATIENCE);
    assert!(sent < 50_000_000, "the sockets' buffers alone take some: {sent}");
    assert!(proxy.memory().saturating_sub(before) < 10 * MIB, "and the proxy next to none");
}

#[test]
fn a_visitor_who_does_not_read_holds_the_backend_back() {
    let (tell, told) = channel();
    let backend = Backend::start(move |mut peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let _ = tell.send(peer.send_until_stalled(100_000_000, PATIENCE));
        peer.hang();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let before = proxy.memory();
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let sent = told.recv_timeout(DEADLINE).unwrap();
    assert!(sent < 50_000_000, "the sockets' buffers alone take some: {sent}");
    assert!(proxy.memory().saturating_sub(before) < 10 * MIB, "and the proxy next to none");
}

#[test]
fn requests_of_http_1_0_get_an_answer_they_can_read() {
    let (backend, proxy) =
        before("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let mut visitor = proxy.visit();
    visitor.send("GET /x HTTP/1.0\r\n\r\n");
    let response = visitor.response();
    assert_eq!((response.text().as_str(), response.field("transfer-encoding")), ("hello", None));
    assert!(response.line().starts_with("HTTP/1."), "{}", response.line());
    assert!(visitor.is_closed_cleanly(), "one request a connection, unless asked otherwise");
    assert_eq!(backend.next().line(), "GET /x HTTP/1.1");
}

#[test]
fn http_1_0_with_keep_alive_keeps_its_connection() {
    let (_backend, proxy) = before(&ok("hello"));
    let mut visitor = proxy.visit();
    for _ in 0..3 {
        visitor.send("GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let response = visitor.response();
        assert_eq!(response.text(), "hello");
        assert!(response.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::by(|request| ok(request.target()));
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    let all: String = (0..40).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    visitor.send(&all);
    for number in 0..40 {
        assert_eq!(visitor.response().text(), format!("/{number}"));
    }
    let bodies: String = (0..20)
        .map(|n| format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\n"))
        .collect();
    bodies.as_bytes().chunks(11).all(|piece| visitor.send(piece));
    for number in 0..20 {
        assert_eq!(visitor.response().text(), format!("/{number}"));
    }
}

#[test]
fn connection_close_from_a_visitor_is_honoured() {
    let (_backend, proxy) = before(&ok("hello"));
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let response = visitor.response();
    assert_eq!((response.text().as_str(), response.field("connection")), ("hello", Some("close")));
    assert!(visitor.is_closed_cleanly());
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[test]
fn a_visitor_hears_100_continue_once_the_backend_says_it() {
    let backend = Backend::start(|mut peer| {
        while let Some(mut request) = peer.head() {
            pause(Duration::from_millis(100));
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            peer.body(&mut request);
            peer.send(ok(&request.text()));
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    for _ in 0..2 {
        visitor.send(EXPECTING);
        assert!(visitor.is_silent_for(Duration::from_millis(50)), "not before the backend");
        let began = Instant::now();
        assert_eq!(visitor.head().status(), 100);
        assert!(began.elapsed() < Duration::from_millis(700), "by the backend's word, not by time");
        visitor.send("hello");
        let response = visitor.response();
        assert_eq!((response.status(), response.text().as_str()), (200, "hello"));
    }
    assert_eq!(backend.next().field("expect"), Some("100-continue"));
}

#[test]
fn a_backend_that_never_says_100_gets_the_body_after_a_second() {
    let backend = Backend::by(|request| ok(&request.text()));
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    let began = Instant::now();
    visitor.send(EXPECTING);
    assert_eq!(visitor.head().status(), 100);
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(800) && waited < Duration::from_secs(3), "after {waited:?}");
    visitor.send("hello");
    assert_eq!(visitor.response().text(), "hello");
}

#[test]
fn a_backend_that_refuses_the_body_is_heard_without_it() {
    for (status, words) in [(417, "Expectation Failed"), (401, "Unauthorized")] {
        let backend = Backend::start(move |mut peer| {
            peer.head();
            peer.send(format!("HTTP/1.1 {status} {words}\r\nContent-Length: 2\r\n\r\nno"));
            peer.hang();
        });
        let proxy = Proxy::start(&Config::of(&backend));
        let mut visitor = proxy.visit();
        visitor.send(EXPECTING);
        let response = visitor.response();
        assert_eq!((response.status(), response.text().as_str()), (status, "no"), "no 100 before it");
        assert_eq!(proxy.metric("crossfade_backend_failures_total", &[]) as u64, 0);
    }
}

#[test]
fn an_early_answer_reaches_the_visitor_whole_even_while_it_sends() {
    let backend = Backend::start(|mut peer| {
        while let Some(mut request) = peer.head() {
            peer.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\n\r\nlarge");
            peer.body(&mut request);
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    for _ in 0..5 {
        let mut visitor = proxy.visit();
        visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
        for _ in 0..20 {
            let _ = visitor.send("x".repeat(10_000));
        }
        let response = visitor.response();
        assert_eq!((response.status(), response.text().as_str()), (413, "large"));
    }
}

#[test]
fn an_early_answer_of_a_backend_that_closes_reaches_the_visitor_whole() {
    let backend = Backend::start(|mut peer| {
        peer.head();
        peer.send("HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge");
        peer.half_close();
        peer.hang();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    for _ in 0..10 {
        let mut visitor = proxy.visit();
        visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
        for _ in 0..20 {
            let _ = visitor.send("x".repeat(10_000));
        }
        let response = visitor.response();
        assert_eq!((response.status(), response.text().as_str()), (413, "large"), "{}", response.head);
    }
}

#[test]
fn informational_responses_reach_the_visitor_before_the_response() {
    let (_backend, proxy) = before(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nKeep-Alive: timeout=5\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    );
    let mut visitor = proxy.visit();
    for _ in 0..3 {
        visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        for _ in 0..2 {
            let hints = visitor.head();
            assert_eq!((hints.status(), hints.fields("link")), (103, vec!["</a.css>"]));
            assert_eq!(hints.field("keep-alive"), None);
            assert_eq!(visitor.head().status(), 102);
            let response = visitor.response();
            assert_eq!((response.status(), response.text().as_str()), (200, "hello"));
        }
    }
}

#[test]
fn early_hints_arrive_while_the_response_is_awaited() {
    let backend = Backend::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        peer.request();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(visitor.head().field("link"), Some("</a.css>"));
}

#[test]
fn a_visitor_of_http_1_0_hears_of_no_informational_response() {
    let (_backend, proxy) =
        before("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(visitor.response().status(), 200);
}

#[test]
fn an_unasked_100_continue_is_no_answer() {
    let (_backend, proxy) =
        before("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut visitor = proxy.visit();
    for _ in 0..3 {
        visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        let response = visitor.response();
        assert_eq!((response.status(), response.text().as_str()), (200, "ok"));
    }
}
