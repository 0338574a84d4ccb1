//! Peers that stall: each kind ends within a bound, is answered where HTTP allows, and is counted by its reason.
//!
//! Each is played on a connection of its own, all at once, before one proxy with short deadlines; a visitor beside them
//! is served throughout.

use std::time::{Duration, Instant};

use crate::kit::certificates::Authority;
use crate::kit::frames::{
    DATA, Frames, HEADERS, Outcome, PREFACE, WINDOW_UPDATE, asking, frame, posting, settings,
};
use crate::kit::{Backend, Config, Message, Peer, Proxy, Visitor, ok, pause};

const REJECTED: &str = "crossfade_rejected_requests_total";
const REFUSED: &str = "crossfade_refused_connections_total";
/// Within this each of them has to be over.
const BOUND: Duration = Duration::from_secs(8);
const BEGUN: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

/// A kind of visitor of HTTP/1: what it sends at first, what then again and again, and what comes of that.
type Kind = (&'static str, &'static str, &'static str, Option<(u16, &'static str)>);

const KINDS: [Kind; 20] = [
    ("says nothing", "", "", None),
    ("says a byte", "G", "", Some((408, "head_timeout"))),
    ("says what may be HTTP/2", "PRI * HT", "", Some((408, "head_timeout"))),
    ("sends a head bit by bit", "GET /", "a", Some((408, "head_timeout"))),
    ("sends a head field by field", "GET / HTTP/1.1\r\n", "X: y\r\n", Some((408, "head_timeout"))),
    ("sends nothing of its first field", "GET / HTTP/1.1\r\n", "", Some((408, "head_timeout"))),
    ("sends empty lines", "", "\r\n", Some((408, "head_timeout"))),
    ("keeps a connection", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", None),
    ("keeps a connection by empty lines", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", None),
    ("begins a second head", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", "", Some((408, "head_timeout"))),
    ("sends no body", "Content-Length: 9\r\n\r\n", "", Some((408, "body_timeout"))),
    ("sends half a body", "Content-Length: 9\r\n\r\nhalf", "", Some((408, "body_timeout"))),
    ("sends a body byte by byte", "Content-Length: 99999\r\n\r\n", "x", Some((408, "body_timeout"))),
    ("sends no chunk", "Transfer-Encoding: chunked\r\n\r\n", "", Some((408, "body_timeout"))),
    (
        "sends chunks of a byte",
        "Transfer-Encoding: chunked\r\n\r\n",
        "1\r\nx\r\n",
        Some((408, "body_timeout")),
    ),
    ("sends a size digit by digit", "Transfer-Encoding: chunked\r\n\r\n", "0", Some((400, "chunked_body"))),
    (
        "sends an extension bit by bit",
        "Transfer-Encoding: chunked\r\n\r\n1;",
        "a",
        Some((408, "body_timeout")),
    ),
    (
        "sends a trailer bit by bit",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX:",
        "a",
        Some((408, "body_timeout")),
    ),
    ("sends trailers", "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", Some((408, "body_timeout"))),
    (
        "waits for a go-ahead and says no more",
        "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        "",
        Some((408, "body_timeout")),
    ),
];

/// Short ones, and what a visitor has to send or take in a second.
fn deadlines(backend: &Backend, rate: &str) -> Config {
    let waits = "request_head = \"600ms\"\nkeep_alive = \"600ms\"\nidle_body = \"600ms\"";
    Config::of_url(&backend.url(), "first_byte_timeout = \"600ms\"")
        .section(&format!("[timeouts]\n{waits}\n[limits]\nmin_rate = \"{rate}\""))
}

/// Answers to `/large` what nobody reads to its end, and else at once.
fn backend() -> Backend {
    Backend::start(|mut peer: Peer| {
        while let Some(request) = peer.request() {
            if request.target() == "/large" {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
                peer.send_until_stalled(1_000_000_000, Duration::from_secs(5));
                return;
            }
            peer.send(ok("hello"));
        }
    })
}

#[test]
fn every_kind_of_visitor_that_stalls_ends_with_its_answer_and_count() {
    let backend = backend();
    let proxy = Proxy::start(&deadlines(&backend, "1KiB"));
    let address = proxy.address;
    std::thread::scope(|scope| {
        for kind in &KINDS {
            scope.spawn(move || plays(Visitor::connect(address), kind));
        }
        let mut calm = proxy.visit();
        for _ in 0..20 {
            assert_eq!(calm.get("/").status(), 200);
            pause(Duration::from_millis(30));
        }
    });
    for reason in ["head_timeout", "body_timeout", "chunked_body"] {
        let due = KINDS.iter().filter(|kind| kind.3.is_some_and(|(_, counted)| counted == reason)).count();
        proxy.wait_for_metric(REJECTED, &[("reason", reason)], due as f64);
    }
    proxy.wait_for_metric("crossfade_connections_open", &[], 0.0);
    proxy.wait_for_metric("crossfade_requests_in_flight", &[], 0.0);
}

fn plays(mut visitor: Visitor, &(what, first, then, answered): &Kind) {
    let began = Instant::now();
    let body = answered.is_some_and(|(_, reason)| matches!(reason, "body_timeout" | "chunked_body"));
    visitor.send(format!("{}{first}", if body { BEGUN } else { "" }));
    if first.starts_with("GET") && first.contains("\r\n\r\n") {
        assert_eq!(visitor.response().text(), "hello", "{what}");
    }
    while visitor.is_silent_for(Duration::from_millis(20)) && began.elapsed() < BOUND {
        let _ = visitor.send(then);
    }
    assert!(began.elapsed() < BOUND, "it {what}, and stays");
    match answered {
        Some((status, reason)) => {
            let response = final_response(&mut visitor);
            assert_eq!((response.status(), response.reason()), (status, Some(reason)), "it {what}");
        }
        None => assert_eq!(visitor.rest(), "", "it {what}"),
    }
}

/// The response behind those of 1xx.
fn final_response(visitor: &mut Visitor) -> Message {
    loop {
        let response = visitor.response();
        if response.status() >= 200 {
            return response;
        }
    }
}

#[test]
fn readers_of_http1_that_take_nothing_or_too_little_are_cut_off_and_counted() {
    let backend = backend();
    let proxy =
        Proxy::start(&Config::of(&backend).section(
            "[timeouts]\nrequest_head = \"600ms\"\nidle_body = \"1s\"\n[limits]\nmin_rate = \"1MiB\"",
        ));
    // Nothing at all.
    let mut nothing = proxy.visit_narrowly();
    nothing.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    // A little again and again, so that no write stands still for a second.
    let mut little = proxy.visit_narrowly();
    little.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let began = Instant::now();
    while began.elapsed() < BOUND && little.take(8 * 1024).len() == 8 * 1024 {
        pause(Duration::from_millis(20));
    }
    assert!(began.elapsed() < BOUND, "it takes 400 KB/s, and stays");
    proxy.wait_for_metric(REJECTED, &[("reason", "slow_reader")], 2.0);
    for _ in 0..2 {
        let record = proxy.record();
        assert_eq!((&record["status"], &record["reason"]), (&200.into(), &"slow_reader".into()), "{record}");
    }
    assert_eq!(
        proxy.metric("crossfade_backend_failures_total", &[]) as u64,
        0,
        "it isn't the backend's fault"
    );
}

#[test]
fn a_reader_who_is_slow_and_honest_is_not() {
    let backend = Backend::answering(ok(&"x".repeat(400_000)));
    let proxy = Proxy::start(&Config::of(&backend).section("[timeouts]\nidle_body = \"300ms\""));
    let mut visitor = proxy.visit_narrowly();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    visitor.head();
    for _ in 0..40 {
        assert_eq!(visitor.take(10_000).len(), 10_000);
        pause(Duration::from_millis(30));
    }
}

#[test]
fn uploads_live_by_their_rate_and_not_by_their_length() {
    let backend = Backend::by(|request| ok(&request.body.len().to_string()));
    let proxy = Proxy::start(&deadlines(&backend, "1KiB"));
    let mut visitor = proxy.visit();
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000\r\n\r\n");
    // 4 KB a second, for two seconds: three times as long as a silent one would have.
    for _ in 0..40 {
        visitor.send([b'x'; 200]);
        pause(Duration::from_millis(50));
    }
    assert_eq!(visitor.response().text(), "8000");
}

#[test]
fn visitors_of_http2_that_stall_are_reset_or_answered_and_counted() {
    let backend = backend();
    let proxy = Proxy::start(&deadlines(&backend, "64KiB"));
    let address = proxy.address;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut visitor = Frames::open(address, &[]);
            visitor.send(posting(1, "/"));
            let mut bytes = 0;
            while visitor.send(frame(DATA, 0, 1, b"x")) && bytes < 400 {
                pause(Duration::from_millis(20));
                bytes += 1;
                if is_ready(&visitor) && visitor.next().is_some_and(|frame| frame.kind == HEADERS) {
                    break;
                }
            }
            assert!(bytes < 400, "a body byte by byte lives on");
        });
        for piece in [0u32, 40] {
            scope.spawn(move || {
                let mut visitor = Frames::open(address, &[(4, 0)]);
                visitor.send(asking(1, "/large"));
                assert_eq!(visitor.outcome(1), Outcome::Status(200));
                let began = Instant::now();
                let mut over = false;
                while !over && began.elapsed() < BOUND {
                    if piece > 0 {
                        let _ = visitor.send(frame(WINDOW_UPDATE, 0, 1, piece.to_be_bytes()));
                    }
                    pause(Duration::from_millis(50));
                    while !over && is_ready(&visitor) {
                        over = visitor.next().is_none_or(|frame| matches!(frame.kind, 3 | 7));
                    }
                }
                assert!(over, "windows of {piece} bytes hold a stream");
            });
        }
        scope.spawn(move || {
            let mut visitor = Frames::connect(address);
            visitor.send(&PREFACE[..20]);
            while visitor.next().is_some() {}
        });
        scope.spawn(move || {
            let mut visitor = Frames::connect(address);
            visitor.send([PREFACE, &settings(&[])].concat());
            visitor.send(frame(HEADERS, 0, 1, b""));
            while visitor.next().is_some() {}
        });
    });
    proxy.wait_for_metric(REJECTED, &[("reason", "body_timeout")], 1.0);
    proxy.wait_for_metric(REJECTED, &[("reason", "slow_reader")], 2.0);
    proxy.wait_for_metric("crossfade_connections_open", &[], 0.0);
}

/// Whether there is something to read, or the end.
fn is_ready(visitor: &Frames) -> bool {
    visitor.socket.set_nonblocking(true).unwrap();
    let ready = visitor.socket.peek(&mut [0]).is_ok();
    visitor.socket.set_nonblocking(false).unwrap();
    ready
}

#[test]
fn handshakes_that_drip_end_and_are_counted() {
    let files = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue(&["a.example"], files.path(), "a");
    let (cert, key) = (files.path().join("a.pem"), files.path().join("a-key.pem"));
    let backend = backend();
    let config = Config::of(&backend).server("https = \"127.0.0.1:0\"").section(&format!(
        "[tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]",
        cert.display(),
        key.display()
    ));
    let proxy = Proxy::start(&config);
    let mut visitor = Visitor::connect(proxy.https.unwrap());
    visitor.send(b"\x16\x03\x01\x02\x00\x01");
    let began = Instant::now();
    while visitor.is_silent_for(Duration::from_millis(100)) && began.elapsed() < Duration::from_secs(20) {
        let _ = visitor.send(b"\0");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "a handshake byte by byte stays");
    proxy.wait_for_metric(REFUSED, &[("reason", "tls_timeout")], 1.0);
}

#[test]
fn a_proxy_header_that_drips_ends_and_is_counted() {
    let backend = backend();
    let config = Config::of(&backend)
        .server("proxy_protocol = true")
        .section("[forwarded]\ntrusted = [\"127.0.0.0/8\"]\nx_for = 1\n[timeouts]\nrequest_head = \"400ms\"");
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    visitor.send("PROXY TCP4 ");
    assert_eq!(visitor.rest(), "");
    proxy.wait_for_metric(REFUSED, &[("reason", "proxy_header")], 1.0);
    // Who says nothing is a load balancer's look, and no fault.
    assert_eq!(proxy.visit().rest(), "");
    assert_eq!(proxy.metric(REFUSED, &[]) as u64, 1);
}
