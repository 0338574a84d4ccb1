//! A visitor who leaves or does wrong within an exchange: recorded once, no fault of the backend's, and its work ends.

use std::net::Shutdown;

use crate::kit::{Backend, Config, Peer, Proxy, wait_until};

const FAILURES: &str = "crossfade_backend_failures_total";
const ENDED: &str = "crossfade_requests_total";

#[test]
fn a_visitor_who_leaves_before_the_answer() {
    let (backend, proxy) = before_slow(|mut peer| {
        peer.request();
        peer.hang();
    });
    let mut visitor = proxy.visit();
    visitor.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.next();
    drop(visitor);
    is_gone(&backend, &proxy, 499);
}

/// Seen: one byte behind the request, and the backend worked on for nobody.
#[test]
fn a_visitor_who_leaves_before_the_answer_with_a_word_behind_its_request() {
    for request in [
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\n\r\nG",
    ] {
        let (backend, proxy) = before_slow(|mut peer| {
            peer.request();
            peer.hang();
        });
        let mut visitor = proxy.visit();
        visitor.send(request);
        backend.next();
        drop(visitor);
        is_gone(&backend, &proxy, 499);
    }
}

#[test]
fn a_visitor_who_resets_before_the_answer() {
    let (backend, proxy) = before_slow(|mut peer| {
        peer.request();
        peer.hang();
    });
    let mut visitor = proxy.visit();
    visitor.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.next();
    visitor.reset();
    is_gone(&backend, &proxy, 499);
}

#[test]
fn a_visitor_who_leaves_within_the_upload() {
    for head in ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let (backend, proxy) = before_slow(|mut peer| drop(peer.request()));
        let mut visitor = proxy.visit();
        visitor.send(format!("POST /x HTTP/1.1\r\nHost: a\r\n{head}"));
        wait_until("the backend has it", || backend.accepted() == 1);
        drop(visitor);
        // It may have half-closed only, and is told so; nobody can know.
        is_gone_by(&backend, &proxy, 400, "body_broken");
        assert!(backend.seen().iter().all(|request| !request.whole), "it must not pass for whole");
    }
}

#[test]
fn a_visitor_who_leaves_within_the_answer() {
    let (backend, proxy) = before_slow(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        peer.hang();
    });
    let mut visitor = proxy.visit();
    visitor.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(visitor.head().status(), 200);
    visitor.socket.shutdown(Shutdown::Both).unwrap();
    drop(visitor);
    is_gone(&backend, &proxy, 200);
}

fn before_slow(script: impl Fn(Peer) + Send + Sync + 'static) -> (Backend, Proxy) {
    let backend = Backend::start(script);
    let proxy = Proxy::start(&Config::of(&backend));
    (backend, proxy)
}

fn is_gone(backend: &Backend, proxy: &Proxy, status: u16) {
    is_gone_by(backend, proxy, status, "visitor_gone");
}

/// The visitor's leaving is recorded once, is no fault of the backend's, and ends the backend's work.
fn is_gone_by(backend: &Backend, proxy: &Proxy, status: u16, reason: &str) {
    wait_until("the upstream connection is closed", || backend.open() == 0);
    proxy.wait_for_metric(ENDED, &[("backend", "only"), ("code", &status.to_string())], 1.0);
    proxy.wait_for_metric("crossfade_requests_in_flight", &[("backend", "only")], 0.0);
    let record = proxy.only_record();
    assert_eq!((&record["status"], &record["reason"]), (&status.into(), &reason.into()), "{record}");
    assert_eq!(proxy.metric(FAILURES, &[]) as u64, 0);
    assert_eq!(proxy.metric(ENDED, &[("backend", "only")]) as u64, 1);
}

/// What a visitor did wrong with an upload counted as the backend's failure once the answer had begun.
#[test]
fn an_upload_over_the_limit_under_a_response_is_no_failure_of_the_backend() {
    let backend = Backend::start(|mut peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
        while peer.discard() > 0 {}
    });
    let proxy = Proxy::start(&Config::of(&backend).section("[limits]\nbody_size = \"64KiB\""));
    let mut visitor = proxy.visit();
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    assert_eq!(visitor.head().status(), 200);
    visitor.send(format!("20000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x20000)));
    let _ = visitor.rest();
    let record = proxy.record();
    assert_eq!((&record["status"], &record["reason"]), (&200.into(), &"body_too_large".into()), "{record}");
    assert_eq!(proxy.metric(FAILURES, &[]) as u64, 0);
}
