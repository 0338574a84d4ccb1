//! Visitors behind a load balancer that speaks the PROXY protocol.

use crate::kit::{Backend, Config, Proxy, ok};

const REFUSED: &str = "crossfade_refused_connections_total";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn start(backend: &Backend, trusted: &str) -> Proxy {
    let config = Config::of(backend)
        .server("proxy_protocol = true")
        .section(&format!("[forwarded]\ntrusted = [\"{trusted}\"]\nx_for = 1"));
    Proxy::start(&config)
}

#[test]
fn the_visitor_is_who_the_header_names_however_it_is_cut() {
    let backend = Backend::answering(ok("hello"));
    let proxy = start(&backend, "127.0.0.0/8");
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\xc8\x22\x01\xbb";
    for (header, visitor) in [
        (&b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n"[..], "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::1 ::1 51234 443\r\n", "2001:db8::1"),
        (binary, "203.0.113.9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        for cut in [0, 5, header.len()] {
            let mut visit = proxy.visit();
            visit.send(&header[..cut]);
            visit.send(&header[cut..]);
            visit.send(REQUEST);
            assert_eq!(visit.response().text(), "hello");
            let request = backend.next();
            assert_eq!(request.field("x-forwarded-for"), Some(visitor));
            assert_eq!(proxy.record()["client"], visitor);
        }
    }
}

#[test]
fn what_the_visitor_claims_beside_the_header_is_not_believed() {
    let backend = Backend::answering(ok("hello"));
    let proxy = start(&backend, "127.0.0.0/8");
    let mut visit = proxy.visit();
    visit.send("PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n");
    visit.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    assert_eq!(visit.response().text(), "hello");
    assert_eq!(backend.next().field("x-forwarded-for"), Some("203.0.113.7"));
}

#[test]
fn a_connection_without_a_good_header_is_closed_and_counted() {
    let backend = Backend::answering(ok("hello"));
    let proxy = start(&backend, "127.0.0.0/8");
    let mut visit = proxy.visit();
    visit.send(REQUEST);
    assert_eq!(visit.rest(), "");
    proxy.wait_for_metric(REFUSED, &[("reason", "proxy_header")], 1.0);
    let stranger = start(&backend, "10.0.0.0/8");
    let mut visit = stranger.visit();
    visit.send("PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n");
    visit.send(REQUEST);
    assert_eq!(visit.rest(), "");
    stranger.wait_for_metric(REFUSED, &[("reason", "proxy_peer")], 1.0);
    assert!(backend.seen().is_empty());
}
