//! Bad input gets a clear error: refused before any backend sees a byte of it, and the connection closes.

use std::time::Duration;

use crate::kit::{Backend, Config, Proxy, ok, wait_until};

/// What is sent, and what it is refused with.
type Case = (&'static str, u16, &'static str);

const HEADS: [Case; 36] = [
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare_lf"),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bare_lf"),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare_lf"),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_lf"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, "bare_cr"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, "control_character"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400, "control_character"),
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "control_character"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400, "control_character"),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "space_before_colon"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", 400, "space_before_colon"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "obs_fold"),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "obs_fold"),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, "field_name"),
    ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", 400, "field_name"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n", 400, "field_name"),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "request_line"),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"),
    ("GET /\r\nHost: a\r\n\r\n", 400, "request_line"),
    ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "version"),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "version"),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method"),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method"),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("GET / HTTP/1.1\r\n\r\n", 400, "host_missing"),
    ("GET http://a/ HTTP/1.1\r\n\r\n", 400, "host_missing"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host_several"),
    ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400, "host_several"),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\n\r\n", 417, "expectation"),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n", 417, "expectation"),
    ("GET / HTTP/1.1\r\n", 408, "head_timeout"),
];

const HOSTS: [Case; 11] = [
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: a:\u{e9}\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400, "host_invalid"),
    ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_invalid"),
];

/// Each is followed by what would be a second request to whoever reads the framing otherwise.
const FRAMINGS: [Case; 17] = [
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9007199254740992\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n", 400, "content_length"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        400,
        "length_with_encoding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        400,
        "length_with_encoding",
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n", 400, "transfer_encoding"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n", 400, "transfer_encoding"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n", 400, "transfer_encoding"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n", 400, "transfer_encoding"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        400,
        "transfer_encoding",
    ),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", 400, "transfer_encoding"),
];

/// What would be smuggled behind a head of [`FRAMINGS`].
const SMUGGLED: &str = "\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A proxy whose backend must never hear of anything.
fn guarded() -> (Backend, Proxy) {
    let backend = Backend::answering(ok("never"));
    let config = Config::of(&backend).section("[timeouts]\nrequest_head = \"150ms\"").section(
        "[limits]\nhead_size = \"8KiB\"\ntarget_size = \"1KiB\"\nheader_count = 20\nbody_size = \"1KiB\"",
    );
    let proxy = Proxy::start(&config);
    (backend, proxy)
}

/// Sends `pieces` one by one and holds the answer against `status` and `reason`.
fn refused<'a>(
    proxy: &Proxy,
    pieces: impl Iterator<Item = &'a [u8]>,
    (shown, status, reason): (&str, u16, &str),
) {
    let mut visitor = proxy.visit();
    for piece in pieces {
        // It may have closed already: the answer is there all the same.
        let _ = visitor.send(piece);
    }
    let response = visitor.response();
    assert_eq!(
        (response.status(), response.reason()),
        (status, Some(reason)),
        "{shown:?}\n{}",
        response.head
    );
    assert_eq!(response.field("connection"), Some("close"), "{shown:?}");
    assert!(response.whole && response.field("x-request-id").is_some(), "{shown:?}");
    assert!(visitor.is_closed_cleanly(), "closed behind {shown:?}");
}

/// Every case whole, then in three pieces, then byte by byte: one record and one count each time.
fn all_refused(cases: &[Case], behind: &str) {
    let (backend, proxy) = guarded();
    for &(head, status, reason) in cases {
        let text = format!("{head}{behind}");
        let (bytes, third) = (text.as_bytes(), text.len() / 3);
        let before = proxy.metric("crossfade_rejected_requests_total", &[("reason", reason)]);
        let case = (head, status, reason);
        refused(&proxy, [bytes].into_iter(), case);
        refused(&proxy, [&bytes[..third], &bytes[third..2 * third], &bytes[2 * third..]].into_iter(), case);
        refused(&proxy, bytes.chunks(1), case);
        proxy.wait_for_metric("crossfade_rejected_requests_total", &[("reason", reason)], before + 3.0);
        let records = proxy.records();
        assert_eq!(records.len(), 3, "one record each: {head:?} {records:#?}");
        assert!(records.iter().all(|record| record["reason"] == reason && record["status"] == status));
    }
    assert_eq!((backend.accepted(), backend.seen().len()), (0, 0), "nothing reached the backend");
}

#[test]
fn a_malformed_head_is_refused_by_name() {
    all_refused(&HEADS, "");
}

#[test]
fn a_host_that_is_none_is_refused() {
    all_refused(&HOSTS, "");
}

#[test]
fn ambiguous_framing_is_refused_and_what_stands_behind_it_never_runs() {
    all_refused(&FRAMINGS, SMUGGLED);
}

#[test]
fn what_is_too_large_is_refused_with_its_own_status() {
    let (backend, proxy) = guarded();
    let field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1024));
    let endless = format!("GET /{}", "x".repeat(3000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(20));
    let body = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n".to_owned();
    for (text, status, reason) in [
        (field, 431, "head_too_large"),
        (target, 414, "target_too_long"),
        (endless, 414, "target_too_long"),
        (many, 431, "too_many_fields"),
        (body, 413, "body_too_large"),
    ] {
        let shown = &text[..text.len().min(60)];
        refused(&proxy, [text.as_bytes()].into_iter(), (shown, status, reason));
        refused(&proxy, text.as_bytes().chunks(700), (shown, status, reason));
    }
    assert_eq!(backend.accepted(), 0, "nothing reached the backend");
}

#[test]
fn a_body_of_exactly_the_limit_passes() {
    let (backend, proxy) = guarded();
    let mut visitor = proxy.visit();
    visitor.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024)));
    assert_eq!(visitor.response().status(), 200);
    assert_eq!(backend.next().body.len(), 1024);
}

#[test]
fn a_chunked_body_over_the_limit_gets_413_and_the_backend_never_its_end() {
    let (backend, proxy) = guarded();
    let mut visitor = proxy.visit();
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        visitor.send(format!("190\r\n{}\r\n", "x".repeat(0x190)));
    }
    visitor.send("0\r\n\r\n");
    let response = visitor.response();
    assert_eq!((response.status(), response.reason()), (413, Some("body_too_large")), "{}", response.head);
    assert!(visitor.is_closed_cleanly());
    wait_until("the upstream connection closes", || backend.open() == 0);
    assert!(backend.seen().iter().all(|request| !request.whole), "the backend was told it is whole");
    let record = proxy.only_record();
    assert_eq!((&record["status"], &record["reason"]), (&413.into(), &"body_too_large".into()));
}

#[test]
fn bad_chunks_get_400_and_the_backend_never_a_whole_request() {
    let (backend, proxy) = guarded();
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\n folded: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\n\r\n",
        "5\r\nhello\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        for step in [1, 7, 1000] {
            let mut visitor = proxy.visit();
            visitor.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            body.as_bytes().chunks(step).all(|piece| visitor.send(piece));
            let response = visitor.response();
            assert_eq!(
                (response.status(), response.reason()),
                (400, Some("chunked_body")),
                "{body:?} {step}"
            );
            assert!(visitor.is_closed_cleanly(), "closed behind {body:?} {step}");
            let record = proxy.only_record();
            assert_eq!((&record["status"], &record["reason"]), (&400.into(), &"chunked_body".into()));
        }
    }
    wait_until("the upstream connections close", || backend.open() == 0);
    assert!(backend.seen().iter().all(|request| !request.whole), "the backend was told it is whole");
}

#[test]
fn a_good_request_before_a_bad_one_is_answered_first() {
    let backend = Backend::by(|request| ok(request.target()));
    let proxy = Proxy::start(&Config::of(&backend));
    for step in [1, 16, 1000] {
        let mut visitor = proxy.visit();
        let text = "GET /good HTTP/1.1\r\nHost: a\r\n\r\nGET /bad HTTP/1.1\r\nHost : a\r\n\r\n\
                    GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
        text.as_bytes().chunks(step).all(|piece| visitor.send(piece));
        assert_eq!(visitor.response().text(), "/good");
        let response = visitor.response();
        assert_eq!((response.status(), response.reason()), (400, Some("space_before_colon")));
        assert!(visitor.is_closed_cleanly());
        assert_eq!(proxy.records().len(), 2);
    }
    assert!(backend.seen().iter().all(|request| request.target() == "/good"), "only the good ones reach it");
}

#[test]
fn a_good_request_with_a_body_before_a_bad_one_is_answered_first() {
    let backend = Backend::by(|request| ok(&request.text()));
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
         POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nworldGET / HTTP/1.1\nHost: a\r\n\r\n",
    );
    assert_eq!(visitor.response().text(), "hello");
    assert_eq!(visitor.response().text(), "world");
    assert_eq!(visitor.response().reason(), Some("bare_lf"));
    assert!(visitor.is_closed_cleanly());
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn a_head_that_trickles_gets_408_however_often_a_byte_comes() {
    let (backend, proxy) = guarded();
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\n");
    while visitor.is_silent_for(Duration::from_millis(20)) {
        let _ = visitor.send("X: a\r\n");
    }
    assert_eq!(visitor.response().reason(), Some("head_timeout"));
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_an_answer() {
    let (_backend, proxy) = guarded();
    let mut visitor = proxy.visit();
    assert!(visitor.is_closed_cleanly());
    assert_eq!(proxy.records().len(), 0, "there was no request");
}

#[test]
fn a_second_head_that_stalls_gets_408_too() {
    let (_backend, proxy) = guarded();
    let mut visitor = proxy.visit();
    assert_eq!(visitor.get("/").status(), 200);
    visitor.send("GET /second HT");
    assert_eq!(visitor.response().reason(), Some("head_timeout"));
    assert!(visitor.is_closed_cleanly());
}

#[test]
fn an_idle_connection_is_closed_when_its_keep_alive_is_over() {
    let backend = Backend::answering(ok("hello"));
    let config = Config::of(&backend).section("[timeouts]\nkeep_alive = \"150ms\"");
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    assert_eq!(visitor.get("/").status(), 200);
    assert!(visitor.is_closed_cleanly());
}

#[test]
fn a_visitor_who_still_sends_gets_the_refusal_whole() {
    let (_backend, proxy) = guarded();
    let mut visitor = proxy.visit();
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    for _ in 0..20 {
        let _ = visitor.send("x".repeat(10_000));
    }
    let response = visitor.response();
    assert!(response.status() == 413 && response.whole, "{}", response.head);
}

#[test]
fn a_host_and_path_without_a_route_get_404_and_the_connection_lives() {
    let backend = Backend::answering(ok("hello"));
    let config =
        Config::of(&backend).route("stable = \"only\"\nhosts = [\"www.example.com\"]\npath = \"/app\"");
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    let response = visitor.get("/");
    assert_eq!((response.status(), response.reason()), (404, Some("no_route")));
    assert_eq!(visitor.get("/app/x").status(), 200);
    visitor.send("GET /app HTTP/1.1\r\nHost: other.example.com\r\n\r\n");
    assert_eq!(visitor.response().status(), 404);
}

#[test]
fn heads_up_to_the_limits_pass() {
    let backend = Backend::by(|request| ok(&request.head.len().to_string()));
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    for text in [
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8 * 1024 - 1)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(99)),
        format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "x".repeat(63 * 1024)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", format!("X: {}\r\n", "y".repeat(700)).repeat(90)),
    ] {
        for step in [1000, text.len()] {
            text.as_bytes().chunks(step).all(|piece| visitor.send(piece));
            let response = visitor.response();
            assert_eq!(response.status(), 200, "{} bytes: {}", text.len(), response.head);
            assert!(response.text().parse::<usize>().unwrap() > text.len(), "all of it arrived");
        }
    }
}

#[test]
fn a_method_that_is_refused_is_answered_with_those_that_are_not() {
    let (_backend, proxy) = guarded();
    let mut visitor = proxy.visit();
    visitor.send("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = visitor.response();
    assert_eq!(
        (response.status(), response.field("allow").map(|allow| allow.starts_with("GET, "))),
        (405, Some(true))
    );
}
