//! HTTP/2 frame by frame: what RFC 9113 forbids ends the stream or the connection, what it allows is served.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::kit::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Outcome, PADDED, PING,
    PREFACE, PRIORITIZED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, asking, block,
    frame, get, posting, request, settings,
};
use crate::kit::{Backend, Config, Proxy, ok, wait_until};

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const CLOSED: u32 = 5;
const SIZE: u32 = 6;
const COMPRESSION: u32 = 9;

/// What is sent after the preface, and the code that RFC 9113 names.
type Case = (&'static str, Vec<u8>, u32);

/// What ends the connection.
fn connection_errors() -> Vec<Case> {
    let joined = |parts: &[Vec<u8>]| parts.concat();
    let open = |id| frame(HEADERS, END_STREAM, id, block(&get("/never")));
    vec![
        ("SETTINGS acknowledged with a payload", frame(SETTINGS, ACK, 0, [0; 6]), SIZE),
        ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, [0; 5]), SIZE),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, []), PROTOCOL),
        ("ENABLE_PUSH 2", settings(&[(2, 2)]), PROTOCOL),
        ("INITIAL_WINDOW_SIZE 2^31", settings(&[(4, 1 << 31)]), FLOW_CONTROL),
        ("MAX_FRAME_SIZE below", settings(&[(5, 16383)]), PROTOCOL),
        ("MAX_FRAME_SIZE beyond", settings(&[(5, 1 << 24)]), PROTOCOL),
        ("PING of seven bytes", frame(PING, 0, 0, [0; 7]), SIZE),
        ("PING on a stream", frame(PING, 0, 1, [0; 8]), PROTOCOL),
        ("WINDOW_UPDATE by 0", frame(WINDOW_UPDATE, 0, 0, [0; 4]), PROTOCOL),
        ("WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, 0, 0, [0; 3]), SIZE),
        ("WINDOW_UPDATE beyond 2^31-1", frame(WINDOW_UPDATE, 0, 0, [0x7f, 255, 255, 255]), FLOW_CONTROL),
        ("WINDOW_UPDATE of an idle stream", frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1]), PROTOCOL),
        ("DATA on stream 0", frame(DATA, 0, 0, "x"), PROTOCOL),
        ("DATA on an idle stream", frame(DATA, 0, 1, "x"), PROTOCOL),
        ("HEADERS on stream 0", asking(0, "/never"), PROTOCOL),
        ("HEADERS on an even stream", asking(2, "/never"), PROTOCOL),
        ("HEADERS on a lower stream", joined(&[asking(5, "/right"), asking(3, "/never")]), PROTOCOL),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, []), PROTOCOL),
        (
            "CONTINUATION after the end of fields",
            joined(&[asking(1, "/right"), frame(CONTINUATION, END_HEADERS, 1, [])]),
            PROTOCOL,
        ),
        (
            "CONTINUATION on another stream",
            joined(&[open(1), frame(CONTINUATION, END_HEADERS, 3, [])]),
            PROTOCOL,
        ),
        ("CONTINUATION on stream 0", joined(&[open(1), frame(CONTINUATION, END_HEADERS, 0, [])]), PROTOCOL),
        ("PING within fields", joined(&[open(1), frame(PING, 0, 0, [0; 8])]), PROTOCOL),
        ("an unknown frame within fields", joined(&[open(1), frame(0xfe, 0, 1, [])]), PROTOCOL),
        ("HEADERS within fields", joined(&[open(1), asking(3, "/never")]), PROTOCOL),
        (
            "padding longer than DATA",
            joined(&[posting(1, "/never"), frame(DATA, PADDED, 1, [9, 0])]),
            PROTOCOL,
        ),
        ("padding longer than HEADERS", frame(HEADERS, WHOLE | PADDED, 1, [200, 0x82]), PROTOCOL),
        ("a frame over 16 KiB", joined(&[posting(1, "/never"), frame(DATA, 0, 1, [0; 16385])]), SIZE),
        ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, [0; 5]), PROTOCOL),
        ("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, [0; 4]), PROTOCOL),
        ("RST_STREAM of an idle stream", frame(RST_STREAM, 0, 1, [0; 4]), PROTOCOL),
        ("RST_STREAM of three bytes", joined(&[posting(1, "/never"), frame(RST_STREAM, 0, 1, [0; 3])]), SIZE),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, [0; 8]), PROTOCOL),
        ("GOAWAY of seven bytes", frame(GOAWAY, 0, 0, [0; 7]), SIZE),
        ("PUSH_PROMISE of a visitor", frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2, 0x82]), PROTOCOL),
        ("the field of index 0", frame(HEADERS, WHOLE, 1, [0x80]), COMPRESSION),
        ("a field that isn't in the table", frame(HEADERS, WHOLE, 1, [0xff, 0x7f]), COMPRESSION),
        ("an index without end", frame(HEADERS, WHOLE, 1, [0xff; 20]), COMPRESSION),
        ("a field that breaks off", frame(HEADERS, WHOLE, 1, [0x00, 0x05, b'a']), COMPRESSION),
        ("a table over its size", frame(HEADERS, WHOLE, 1, [0x3f, 0xe2, 0xff, 0x03]), COMPRESSION),
        ("a table's size after a field", frame(HEADERS, WHOLE, 1, [0x82, 0x20]), COMPRESSION),
        ("Huffman's EOS", frame(HEADERS, WHOLE, 1, [0, 0x84, 255, 255, 255, 255, 0]), COMPRESSION),
        ("Huffman padded with zeros", frame(HEADERS, WHOLE, 1, [0, 0x81, 0x18, 0]), COMPRESSION),
        ("Huffman padded by a byte", frame(HEADERS, WHOLE, 1, [0, 0x82, 0x1f, 255, 0]), COMPRESSION),
    ]
}

/// What ends stream 1; the connection may end with it (section 5.4.2).
fn stream_errors() -> Vec<Case> {
    let post = |then: Vec<u8>| [posting(1, "/never"), then].concat();
    let after = |then: Vec<u8>| [asking(1, "/slow"), then].concat();
    vec![
        ("WINDOW_UPDATE by 0", post(frame(WINDOW_UPDATE, 0, 1, [0; 4])), PROTOCOL),
        (
            "WINDOW_UPDATE beyond 2^31-1",
            post(frame(WINDOW_UPDATE, 0, 1, [0x7f, 255, 255, 255])),
            FLOW_CONTROL,
        ),
        ("PRIORITY on itself", post(frame(PRIORITY, 0, 1, [0, 0, 0, 1, 0])), PROTOCOL),
        ("PRIORITY of four bytes", post(frame(PRIORITY, 0, 1, [0; 4])), SIZE),
        (
            "HEADERS on themselves",
            frame(HEADERS, WHOLE | PRIORITIZED, 1, [&[0, 0, 0, 1, 0][..], &block(&get("/never"))].concat()),
            PROTOCOL,
        ),
        ("DATA after the end", after(frame(DATA, 0, 1, "x")), CLOSED),
        ("HEADERS after the end", after(asking(1, "/never")), CLOSED),
        ("DATA after a reset", after([reset(1), frame(DATA, 0, 1, "x")].concat()), CLOSED),
        ("HEADERS after a reset", after([reset(1), asking(1, "/never")].concat()), CLOSED),
        ("a body over the window", post(frame(DATA, 0, 1, [0; 16384]).repeat(5)), FLOW_CONTROL),
    ]
}

/// What may stand before a request.
fn allowed() -> Vec<(&'static str, Vec<u8>)> {
    let fields = block(&get("/right"));
    let (first, second) = fields.split_at(5);
    vec![
        ("nothing", Vec::new()),
        ("a frame of an unknown kind", frame(0xfe, 0xff, 0, [1; 100])),
        ("… on a stream", frame(0xfe, 0xff, 1, [1; 100])),
        ("unknown settings", settings(&[(0xfefe, 7), (0x10, 1)])),
        ("settings several times", settings(&[(4, 1000), (4, 1 << 20), (1, 0), (1, 4096)])),
        ("PING", frame(PING, 0, 0, [7; 8])),
        ("PING with unknown flags", frame(PING, 0x16, 0, [7; 8])),
        ("the acknowledgement of no PING", frame(PING, ACK, 0, [7; 8])),
        ("PRIORITY of an idle stream", frame(PRIORITY, 0, 7, [0, 0, 0, 0, 9])),
        ("a reserved bit", frame(WINDOW_UPDATE, 0, 1 << 31, [0x80, 0, 0, 1])),
        (
            "fields in several frames",
            [
                frame(HEADERS, END_STREAM, 1, first),
                frame(CONTINUATION, 0, 1, []),
                frame(CONTINUATION, END_HEADERS, 1, second),
            ]
            .concat(),
        ),
        (
            "padded frames",
            [
                frame(
                    HEADERS,
                    END_HEADERS | PADDED,
                    1,
                    [&[3][..], &block(&request("POST", "/right")), &[0; 3]].concat(),
                ),
                frame(DATA, END_STREAM | PADDED, 1, [2, b'x', 0, 0]),
            ]
            .concat(),
        ),
        ("RST_STREAM twice", [posting(1, "/gone"), reset(1), reset(1)].concat()),
        (
            "WINDOW_UPDATE after a reset",
            [posting(1, "/gone"), reset(1), frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1])].concat(),
        ),
        ("PRIORITY after the end", [asking(1, "/right"), frame(PRIORITY, 0, 1, [0; 5])].concat()),
        (
            "empty DATA",
            [posting(1, "/right"), frame(DATA, 0, 1, []).repeat(10), frame(DATA, END_STREAM, 1, [])].concat(),
        ),
    ]
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, [0, 0, 0, 8])
}

/// A backend that must hear of no whole request to `/never`.
fn guarded() -> (Backend, Proxy) {
    let backend = Backend::start(|mut peer| {
        while let Some(request) = peer.request() {
            if request.target() == "/slow" {
                peer.hang();
                return;
            }
            peer.send(ok("hello"));
        }
    });
    let config = Config::of(&backend).section("[timeouts]\nrequest_head = \"300ms\"");
    let proxy = Proxy::start(&config);
    (backend, proxy)
}

fn nothing_whole_came(backend: &Backend, proxy: &Proxy) {
    proxy.wait_for_metric("crossfade_requests_in_flight", &[], 0.0);
    let seen = backend.seen();
    let wrong = seen.iter().find(|request| request.target() == "/never" && request.whole);
    assert!(wrong.is_none(), "{wrong:#?}");
}

#[test]
fn what_breaks_the_connection_ends_it_with_the_code_of_the_rule() {
    let (backend, proxy) = guarded();
    for (what, bytes, code) in connection_errors() {
        let mut visitor = Frames::open(proxy.address, &[]);
        visitor.send(bytes);
        // Stream 1 may have been answered before; no word of it is awaited.
        let outcome = visitor.outcome(u32::MAX);
        // PROTOCOL_ERROR may stand for any that is more specific (section 7).
        let right = matches!(outcome, Outcome::Connection(PROTOCOL)) || outcome == Outcome::Connection(code);
        assert!(right, "{what}: {outcome:?} and not {code}");
        assert!(visitor.rest().is_empty(), "{what}: GOAWAY is the last");
    }
    nothing_whole_came(&backend, &proxy);
}

#[test]
fn what_breaks_a_stream_ends_it_with_the_code_of_the_rule() {
    let (backend, proxy) = guarded();
    for (what, bytes, code) in stream_errors() {
        let mut visitor = Frames::open(proxy.address, &[]);
        visitor.send(bytes);
        let outcome = visitor.outcome(1);
        let codes = [code, PROTOCOL, CLOSED];
        let right =
            matches!(outcome, Outcome::Connection(found) | Outcome::Stream(found) if codes.contains(&found));
        assert!(right, "{what}: {outcome:?} and not {code}");
        if let Outcome::Stream(_) = outcome {
            visitor.send(asking(101, "/right"));
            assert_eq!(visitor.outcome(101), Outcome::Status(200), "the connection lives on: {what}");
        }
    }
    nothing_whole_came(&backend, &proxy);
}

#[test]
fn what_is_allowed_or_unknown_is_passed_over() {
    let (_backend, proxy) = guarded();
    for (what, bytes) in allowed() {
        let mut visitor = Frames::open(proxy.address, &[]);
        visitor.send([bytes, asking(101, "/right")].concat());
        assert_eq!(visitor.outcome(101), Outcome::Status(200), "{what}");
    }
}

#[test]
fn settings_and_pings_are_acknowledged() {
    let (_backend, proxy) = guarded();
    let mut visitor = Frames::open(proxy.address, &[(3, 7)]);
    let ours = visitor.next().expect("settings come first");
    assert_eq!((ours.kind, ours.flags, ours.stream), (SETTINGS, 0, 0));
    let setting = |id: u16| {
        let found = ours.payload.chunks(6).find(|pair| pair[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes(found[2..].try_into().unwrap()))
    };
    assert_eq!((setting(3), setting(4), setting(6)), (Some(100), Some(65536), Some(16384)), "{ours:?}");
    let acknowledged = visitor.next_of(SETTINGS).expect("an acknowledgement comes");
    assert_eq!((acknowledged.flags, acknowledged.payload.len()), (ACK, 0));
    visitor.send(frame(PING, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8]));
    let pong = visitor.next_of(PING).expect("a pong comes");
    assert_eq!((pong.flags, pong.payload), (ACK, vec![1, 2, 3, 4, 5, 6, 7, 8]));
}

#[test]
fn a_begin_that_is_no_preface_is_a_request_of_http_1_and_refused() {
    let (backend, proxy) = guarded();
    for begin in
        ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\r\nHost: a\r\n\r\n", "INVALID PREFACE\r\n\r\n"]
    {
        let mut visitor = proxy.visit();
        visitor.send(begin);
        let answer = visitor.rest();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 505 "),
            "{begin:?}: {answer}"
        );
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn a_preface_that_breaks_off_or_is_all_that_comes_ends_within_the_time_of_a_head() {
    let (backend, proxy) = guarded();
    for length in [0, 3, 14, PREFACE.len() - 1] {
        let mut visitor = Frames::connect(proxy.address);
        visitor.send(&PREFACE[..length]);
        let began = Instant::now();
        visitor.rest();
        assert!(began.elapsed() < Duration::from_secs(5), "{length}: {:?}", began.elapsed());
    }
    for bytes in [PREFACE.to_vec(), [PREFACE, &settings(&[])].concat()] {
        let mut visitor = Frames::connect(proxy.address);
        visitor.send(bytes);
        let began = Instant::now();
        let frames = visitor.rest();
        assert!(frames.iter().any(|frame| frame.kind == GOAWAY), "{frames:?}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(5), "{took:?}");
    }
    let mut visitor = Frames::connect(proxy.address);
    visitor.send(&PREFACE[..10]);
    visitor.half_close();
    visitor.rest();
    wait_until("nothing is left", || proxy.metric("crossfade_connections_open", &[]) < 0.5);
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn something_else_than_settings_after_the_preface_ends_the_connection_or_is_served() {
    let (_backend, proxy) = guarded();
    let mut visitor = Frames::connect(proxy.address);
    visitor.send([PREFACE, &frame(PING, 0, 0, [0; 8])].concat());
    // hyper takes it; what is asked for is that nothing worse comes of it (section 3.4).
    let answered = visitor.rest().iter().any(|frame| matches!(frame.kind, PING | GOAWAY));
    assert!(answered);
}

#[test]
fn a_visitor_who_says_goodbye_gets_what_was_asked_for() {
    let (_backend, proxy) = guarded();
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send([asking(1, "/right"), frame(GOAWAY, 0, 0, [0; 8])].concat());
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    let began = Instant::now();
    visitor.rest();
    assert!(began.elapsed() < Duration::from_secs(2), "and the connection ends");
}

#[test]
fn nothing_that_is_sent_makes_it_panic_or_hang() {
    let (_backend, proxy) = guarded();
    let cases = connection_errors().into_iter().chain(stream_errors()).map(|(_, bytes, _)| bytes);
    let cases: Vec<_> = cases.chain(allowed().into_iter().map(|(_, bytes)| bytes)).collect();
    let mut random = fastrand::Rng::with_seed(9113);
    for _ in 0..400 {
        let mut bytes =
            [random.choice(&cases).unwrap().clone(), random.choice(&cases).unwrap().clone()].concat();
        for _ in 0..random.usize(0..6) {
            if !bytes.is_empty() {
                let at = random.usize(0..bytes.len());
                bytes[at] = random.u8(..);
            }
        }
        bytes.truncate(random.usize(..=2 * bytes.len()));
        let mut visitor = Frames::open(proxy.address, &[]);
        if visitor.send(&bytes) {
            // The connection may be over by now.
            let _ = visitor.socket.shutdown(Shutdown::Write);
        }
        visitor.rest();
    }
    assert!(proxy.metric("crossfade_panics_total", &[]) < 0.5);
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send(asking(1, "/right"));
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
}
