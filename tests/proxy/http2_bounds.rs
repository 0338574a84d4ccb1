//! Nothing of HTTP/2 is held for ever: not by silence, by answered pings alone, by a window that stays shut.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};

use crate::kit::frames::{ACK, DATA, Frames, GOAWAY, HEADERS, Outcome, PING, RST_STREAM, WINDOW_UPDATE};
use crate::kit::frames::{asking, frame, posting};
use crate::kit::http2_client::{Http2, Sent, get, request};
use crate::kit::{Backend, Config, Peer, Proxy, ok, pause, wait_until};

const SHORT: &str = "[timeouts]\nrequest_head = \"200ms\"\nkeep_alive = \"300ms\"\nidle_body = \"400ms\"";
const MIB: usize = 1024 * 1024;

fn short(backend: &Backend) -> Proxy {
    Proxy::start(&Config::of_url(&backend.url(), "first_byte_timeout = \"400ms\"").section(SHORT))
}

/// How long the connection lasts, with every PING answered.
fn lasts(visitor: &mut Frames) -> Duration {
    let began = Instant::now();
    visitor.rest();
    began.elapsed()
}

/// A backend whose body never ends for as long as anybody reads.
fn endless() -> Backend {
    Backend::start(|mut peer: Peer| {
        while peer.request().is_some() {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1024 * MIB));
            peer.send_until_stalled(1024 * MIB, Duration::from_millis(300));
            peer.hang();
        }
    })
}

#[test]
fn a_visitor_who_only_answers_pings_is_sent_away_after_the_time_of_idling() {
    let backend = Backend::answering(ok("hello"));
    let proxy = short(&backend);
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send(asking(1, "/"));
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    let took = lasts(&mut visitor);
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_visitor_who_is_told_to_leave_and_stays_is_cut_off() {
    let backend = Backend::answering(ok("hello"));
    let proxy = short(&backend);
    for used in [true, false] {
        let mut visitor = Frames::open(proxy.address, &[]);
        if used {
            visitor.send(asking(1, "/"));
            assert_eq!(visitor.outcome(1), Outcome::Status(200));
        }
        // Its farewell is a PING that asks for an answer; none is given.
        visitor.next_of(GOAWAY).expect("it is told");
        let began = Instant::now();
        while visitor.next().is_some() {}
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(150) && took < Duration::from_secs(2), "{used} {took:?}");
    }
    wait_until("nothing is left", || proxy.metric("crossfade_connections_open", &[]) < 0.5);
}

#[test]
fn a_stream_whose_visitor_opens_no_window_is_ended() {
    let backend = endless();
    let proxy = short(&backend);
    let mut visitor = Frames::open(proxy.address, &[(4, 0)]);
    visitor.send(asking(1, "/"));
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    let began = Instant::now();
    let reset = visitor.next_of(RST_STREAM).expect("the stream is ended");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(reset.stream, 1);
    wait_until("the backend's work ends", || backend.open() == 0);
    let record = proxy.record();
    assert_eq!((&record["status"], &record["reason"]), (&200.into(), &"slow_reader".into()));
    lasts(&mut visitor);
}

#[test]
fn a_connection_that_was_there_before_a_reload_keeps_to_its_timeouts() {
    let backend = Backend::start(|mut peer: Peer| {
        while peer.request().is_some() {
            peer.await_word();
            peer.send(ok("late"));
        }
    });
    let proxy = short(&backend);
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send(asking(1, "/"));
    backend.go_on();
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    let longer = Config::of_url(&backend.url(), "first_byte_timeout = \"9s\"").section(SHORT);
    std::fs::write(proxy.config_path(), longer.text()).unwrap();
    proxy.wait_for_metric("crossfade_revision", &[], 2.0);
    visitor.send(asking(3, "/"));
    // Above the 800 ms that the configuration before would have allowed.
    pause(Duration::from_millis(1200));
    backend.go_on();
    assert_eq!(visitor.outcome(3), Outcome::Status(200));
}

#[test]
fn the_rest_of_an_answer_that_nobody_takes_does_not_hold_the_connection() {
    // In one piece with its head.
    let backend = Backend::answering(ok(&"x".repeat(3000)));
    let proxy = short(&backend);
    // Room for one byte: the rest waits in the library's hands, where no exchange sees it.
    let mut visitor = Frames::open(proxy.address, &[(4, 1)]);
    visitor.send(asking(1, "/"));
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    assert_eq!(proxy.record()["reason"], serde_json::Value::Null, "the exchange is over");
    let took = lasts(&mut visitor);
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_request_that_does_not_end_is_refused_and_its_backend_left_alone() {
    let backend = Backend::start(|mut peer| drop(peer.request()));
    let proxy = short(&backend);
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send([posting(1, "/"), frame(DATA, 0, 1, "some")].concat());
    assert_eq!(visitor.outcome(1), Outcome::Status(408));
    assert_eq!(proxy.record()["reason"], "body_timeout");
    wait_until("the backend's work ends", || backend.open() == 0);
    assert!(backend.seen().iter().all(|request| !request.whole));
}

#[test]
fn fields_that_do_not_end_hold_a_connection_no_longer_than_silence() {
    let backend = Backend::answering(ok("never"));
    let proxy = short(&backend);
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send(frame(HEADERS, 1, 1, [0x82]));
    let began = Instant::now();
    while visitor.next().is_some() {}
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn a_reader_who_stalls_stalls_the_backend_and_not_our_memory() {
    let backend = endless();
    let proxy = Proxy::start(&Config::of(&backend));
    let before = proxy.memory();
    let mut visitor = Frames::open(proxy.address, &[(4, 100_000)]);
    visitor.send((0..100).flat_map(|stream| asking(2 * stream + 1, "/")).collect::<Vec<_>>());
    let mut came = 0;
    while came < 60_000 {
        let next = visitor.next().expect("it comes as far as the window goes");
        came += if next.kind == DATA { next.payload.len() } else { 0 };
    }
    wait_until("all have begun", || backend.accepted() == 100);
    let grown = proxy.memory().saturating_sub(before);
    println!("100 streams that nobody reads: {} KiB", grown / 1024);
    assert!(grown < 100 * 256 * 1024, "{grown}");
}

#[test]
fn an_upload_waits_for_a_backend_that_does_not_read() {
    let backend = Backend::start(|mut peer: Peer| {
        let mut head = peer.head().unwrap();
        peer.await_word();
        peer.body(&mut head);
        peer.send(ok("hello"));
        peer.hang();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let before = proxy.memory();
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send(posting(1, "/"));
    backend.next();
    let (mut room, mut sent) = (65_535_i64, 0_i64);
    visitor.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    loop {
        while room >= 16_384 {
            assert!(visitor.send(frame(DATA, 0, 1, [b'x'; 16_384])));
            (room, sent) = (room - 16_384, sent + 16_384);
        }
        // Whatever the connection's window is, the stream's is smaller.
        let Some(update) = visitor.next_within() else { break };
        if update.kind == WINDOW_UPDATE && update.stream == 1 {
            room += i64::from(u32::from_be_bytes(update.payload[..].try_into().unwrap()));
        }
    }
    let grown = proxy.memory().saturating_sub(before);
    println!("an upload that nobody reads: {} KiB sent, {} KiB grown", sent / 1024, grown / 1024);
    assert!(sent < 32 * 1024 * 1024, "it stalled after {sent}");
    assert!(grown < 8 * MIB, "{grown}");
    backend.go_on();
    visitor.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    visitor.send(frame(DATA, 1, 1, []));
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    let request = backend.next();
    assert!(request.whole && request.body.len() as i64 == sent);
}

#[test]
fn large_bodies_pass_both_ways() {
    let body: String = "0123456789abcdef".repeat(128 * 1024);
    let answer = body.clone();
    let backend = Backend::by(move |_| ok(&answer));
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = Http2::connect(proxy.address);
    let sent = Sent { body: body.clone().into_bytes(), trailers: HeaderMap::new() };
    let mut request = request("POST", "/");
    request.headers_mut().insert("content-length", HeaderValue::from(body.len()));
    let answer = visitor.send(request, sent).unwrap();
    assert!(answer.body == body.as_bytes() && backend.next().body == body.as_bytes());
}

#[test]
fn a_drain_tells_the_visitor_and_lets_streams_finish() {
    let backend = Backend::start(|mut peer: Peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            peer.await_word();
            peer.send("later");
        }
    });
    let mut proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send(asking(1, "/"));
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    proxy.signal("TERM");
    let told = visitor.next_of(GOAWAY).expect("it is told");
    assert_eq!(told.payload[4..8], [0; 4], "without a fault");
    assert!(TcpStream::connect(proxy.address).is_err(), "nobody new is let in");
    backend.go_on();
    let frames = visitor.rest();
    let rest: Vec<u8> =
        frames.iter().filter(|frame| frame.kind == DATA).flat_map(|f| f.payload.clone()).collect();
    assert!(rest.ends_with(b"later"), "{frames:?}");
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn a_drain_ends_idle_connections_and_those_that_do_not_answer() {
    let backend = Backend::answering(ok("hello"));
    let mut proxy = short(&backend);
    let mut polite = Http2::connect(proxy.address);
    assert_eq!(polite.ask(get("/")).unwrap().status, 200);
    let mut mute = Frames::open(proxy.address, &[]);
    mute.send(asking(1, "/"));
    assert_eq!(mute.outcome(1), Outcome::Status(200));
    let began = Instant::now();
    assert_eq!(proxy.terminate(), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    polite.ended().expect("without a fault");
    let pings = std::iter::from_fn(|| mute.next()).filter(|f| f.kind == PING && f.flags & ACK == 0).count();
    assert_eq!(pings, 1, "it was asked");
}
