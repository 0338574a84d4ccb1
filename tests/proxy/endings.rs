//! Exchanges whose two sides don't end together: an answer before the end of its request, a request that was never
//! sent, an answer that breaks off without a framing of its own.

use crate::kit::{Backend, Config, Peer, Proxy, ok};

const BODY: usize = 3_000_000;

/// A backend that answers at the head and reads on, and a proxy before it.
fn early() -> (Backend, Proxy) {
    let backend = Backend::start(|mut peer: Peer| {
        while let Some(mut request) = peer.head() {
            peer.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\n\r\nlarge");
            peer.body(&mut request);
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    (backend, proxy)
}

/// Seen: the upload was cut with the answer, and a visitor who sends all before it reads got a reset for its answer.
#[test]
fn an_upload_goes_on_behind_the_last_answer_of_a_connection() {
    let (_backend, proxy) = early();
    for (version, fields) in [("1.1", "Connection: close\r\n"), ("1.0", "")] {
        let mut visitor = proxy.visit();
        visitor.send(format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}Content-Length: {BODY}\r\n\r\n"));
        assert!(visitor.send("x".repeat(BODY)), "all of it is read, in {version}");
        let response = visitor.response();
        assert_eq!((response.status(), response.text().as_str()), (413, "large"), "in {version}");
        assert_eq!(response.field("connection"), Some("close"));
        assert!(visitor.is_closed_cleanly(), "in {version}");
    }
}

/// Seen: the connection stayed open, and the visitor's next request was read as the body it had kept to itself.
#[test]
fn a_body_that_was_never_asked_for_ends_the_connection() {
    let backend = Backend::start(|mut peer: Peer| {
        while peer.head().is_some() {
            peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = next.len();
    visitor.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    ));
    let response = visitor.response();
    assert_eq!((response.status(), response.field("connection")), (401, Some("close")), "{}", response.head);
    visitor.send(next);
    assert_eq!(visitor.rest(), "", "nothing is made of what follows");
}

/// Seen: a visitor of HTTP/1.0, to whom an informational response is the last, was told to go on.
#[test]
fn a_visitor_of_http10_is_never_told_to_go_on() {
    let backend = Backend::start(|mut peer: Peer| {
        let Some(mut request) = peer.head() else { return };
        peer.await_word();
        peer.body(&mut request);
        peer.send(ok(&request.text()));
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    backend.go_on();
    assert!(visitor.is_silent_for(std::time::Duration::from_millis(50)), "the body is awaited");
    visitor.send("hello");
    assert_eq!(visitor.response().text(), "hello");
}

/// A page that ends with its connection ended well, to a visitor of HTTP/1.0, where its backend had died within it.
#[test]
fn an_answer_without_framing_that_breaks_off_ends_with_a_reset() {
    let backend = Backend::start(|mut peer: Peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        peer.await_word();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(visitor.head().status(), 200);
    assert_eq!(visitor.take(4), b"half");
    backend.go_on();
    assert!(visitor.try_rest().is_err(), "it can't pass for the whole");
}
