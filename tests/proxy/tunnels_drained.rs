//! A drain ends a WebSocket in its own words: close 1012 between two frames, and time to answer.

use std::time::{Duration, Instant};

use crate::kit::websocket::{CLOSE, RESTART, TEXT, agreed, frame, handshake, masked};
use crate::kit::{Backend, Config, Peer, Proxy, Visitor};

/// A tunnel to a backend that plays `script` behind its 101.
fn tunnel(drain_timeout: &str, script: fn(&mut Peer)) -> (Backend, Proxy, Visitor) {
    let backend = Backend::start(move |mut peer| {
        peer.request();
        peer.send(agreed(""));
        script(&mut peer);
    });
    let config = Config::of(&backend).server(&format!("drain_timeout = \"{drain_timeout}\""));
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    visitor.send(handshake("/cable", ""));
    assert_eq!(visitor.head().status(), 101);
    (backend, proxy, visitor)
}

fn is_recorded_as_drained(proxy: &Proxy) {
    let record = proxy.record();
    assert_eq!((&record["status"], &record["reason"]), (&101.into(), &"drained".into()), "{record}");
}

#[test]
fn a_visitor_is_told_to_come_again_and_its_answer_closes_the_backends_side() {
    let (_backend, mut proxy, mut visitor) = tunnel("20s", |peer| {
        let close = masked(CLOSE, &RESTART);
        assert_eq!(peer.take(close.len()), close, "the visitor's own close frame");
        peer.send(frame(CLOSE, &RESTART));
    });
    let began = Instant::now();
    proxy.signal("TERM");
    assert_eq!(visitor.take(4), frame(CLOSE, &RESTART));
    visitor.send(masked(CLOSE, &RESTART));
    assert!(
        visitor.is_closed_cleanly(),
        "and nothing after it: the backend's close frame would be a second one"
    );
    drop(visitor);
    assert_eq!(proxy.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    is_recorded_as_drained(&proxy);
}

#[test]
fn the_close_frame_never_gets_into_a_frame_of_the_backends() {
    let (backend, mut proxy, mut visitor) = tunnel("20s", |peer| {
        peer.send(&frame(TEXT, b"a long message")[..7]);
        peer.await_word();
        peer.send([&frame(TEXT, b"a long message")[7..], &frame(TEXT, b"one too many")].concat());
        peer.hang();
    });
    assert_eq!(visitor.take(7), &frame(TEXT, b"a long message")[..7]);
    proxy.signal("TERM");
    assert!(
        visitor.is_silent_for(Duration::from_millis(1500)),
        "the drain has begun, the frame hasn't ended"
    );
    backend.go_on();
    assert_eq!(visitor.take(9), &frame(TEXT, b"a long message")[7..]);
    assert_eq!(visitor.take(4), frame(CLOSE, &RESTART));
    visitor.send(masked(CLOSE, &RESTART));
    visitor.half_close();
    assert!(visitor.is_closed_cleanly());
    assert_eq!(proxy.exit_code(), 0);
    is_recorded_as_drained(&proxy);
}

#[test]
fn who_has_closed_already_is_not_closed_twice() {
    let (backend, mut proxy, mut visitor) = tunnel("20s", |peer| {
        peer.send(frame(CLOSE, b"\x03\xe8"));
        peer.await_word();
    });
    assert_eq!(visitor.take(4), frame(CLOSE, b"\x03\xe8"));
    proxy.signal("TERM");
    assert!(visitor.is_silent_for(Duration::from_millis(1500)));
    backend.go_on();
    assert!(visitor.is_closed_cleanly());
    drop(visitor);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn who_does_not_answer_is_cut_within_the_drain() {
    let (_backend, mut proxy, mut visitor) = tunnel("1500ms", Peer::hang);
    let began = Instant::now();
    proxy.signal("TERM");
    assert_eq!(visitor.take(4), frame(CLOSE, &RESTART));
    assert_eq!(proxy.exit_code(), 0);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1400) && took < Duration::from_secs(4), "it took {took:?}");
    is_recorded_as_drained(&proxy);
}

#[test]
fn who_does_not_answer_in_time_holds_up_no_longer_drain() {
    let (_backend, mut proxy, mut visitor) = tunnel("60s", Peer::hang);
    let began = Instant::now();
    proxy.signal("TERM");
    assert_eq!(visitor.take(4), frame(CLOSE, &RESTART));
    assert_eq!(proxy.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    is_recorded_as_drained(&proxy);
}

#[test]
fn a_handshake_under_way_is_agreed_to_and_told_at_once() {
    let backend = Backend::start(|mut peer| {
        peer.request();
        peer.await_word();
        peer.send(agreed(""));
        peer.echo();
    });
    let mut proxy = Proxy::start(&Config::of(&backend).server("drain_timeout = \"20s\""));
    let mut visitor = proxy.visit();
    visitor.send(handshake("/cable", ""));
    backend.next();
    proxy.signal("TERM");
    assert!(visitor.is_silent_for(Duration::from_millis(1500)), "idle connections are closed by now");
    backend.go_on();
    let response = visitor.head();
    assert_eq!((response.status(), response.field("connection")), (101, Some("Upgrade")));
    assert_eq!(visitor.take(4), frame(CLOSE, &RESTART));
    visitor.send(masked(CLOSE, &RESTART));
    visitor.half_close();
    assert!(visitor.is_closed_cleanly());
    assert_eq!(proxy.exit_code(), 0);
    is_recorded_as_drained(&proxy);
}
