//! Answers that go on for long arrive as they are said.

use crate::kit::{Backend, Config, Proxy};

#[test]
fn an_event_of_a_stream_arrives_before_the_next_is_written() {
    let backend = Backend::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for number in 0..5 {
            peer.await_word();
            peer.send(format!("9\r\ndata: {number}\n\n\r\n"));
        }
        peer.send("0\r\n\r\n");
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(visitor.head().field("content-type"), Some("text/event-stream"), "before the first event");
    for number in 0..5 {
        backend.go_on();
        assert_eq!(visitor.take(14), format!("9\r\ndata: {number}\n\n\r\n").as_bytes());
    }
    assert_eq!(visitor.take(5), b"0\r\n\r\n");
}

#[test]
fn a_long_poll_is_answered_when_its_backend_answers() {
    let backend = Backend::start(|mut peer| {
        while peer.request().is_some() {
            peer.await_word();
            peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    for _ in 0..3 {
        visitor.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
        backend.next();
        backend.go_on();
        assert_eq!(visitor.response().status(), 204);
    }
}
