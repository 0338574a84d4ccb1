//! A WebSocket is split, pinned, counted and drained like a request, and its bytes pass as they are.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::kit::certificates::Authority;
use crate::kit::websocket::{TEXT, agreed, frame, handshake, masked};
use crate::kit::{Backend, Config, Peer, Proxy, Visitor, ok, pause, wait_until};

const OPEN: &str = "crossfade_tunnels_open";

/// Agrees to a WebSocket and sends everything back.
fn echo(mut peer: Peer) {
    while let Some(request) = peer.request() {
        if request.field("upgrade").is_none() {
            peer.send(ok("no upgrade"));
        } else {
            peer.send(agreed(""));
            return peer.echo();
        }
    }
}

/// A proxy before a backend that plays `script`, and a tunnel through it.
fn tunnel(config: impl Fn(&Backend) -> Config, script: fn(Peer)) -> (Backend, Proxy, Visitor) {
    let backend = Backend::start(script);
    let proxy = Proxy::start(&config(&backend));
    let visitor = opened(&proxy, "/cable", "");
    (backend, proxy, visitor)
}

/// A visitor whose handshake was agreed to.
fn opened(proxy: &Proxy, path: &str, fields: &str) -> Visitor {
    let mut visitor = proxy.visit();
    visitor.send(handshake(path, fields));
    let response = visitor.head();
    assert_eq!(response.status(), 101, "{response:?}");
    visitor
}

/// Whether what is sent comes back.
fn echoes(visitor: &mut Visitor, text: &str) {
    let frame = masked(TEXT, text.as_bytes());
    visitor.send(&frame);
    assert_eq!(visitor.take(frame.len()), frame);
}

/// The one record, by status and reason.
fn is_recorded(proxy: &Proxy, reason: impl Into<Value>) -> Value {
    let record = proxy.record();
    assert_eq!((&record["status"], &record["reason"]), (&101.into(), &reason.into()), "{record}");
    assert!(proxy.metric(OPEN, &[]).abs() < 1e-9);
    record
}

#[test]
fn a_handshake_is_forwarded_like_a_request_and_written_anew() {
    let backend = Backend::start(|mut peer| {
        peer.request();
        peer.send(agreed("Sec-WebSocket-Protocol: b\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n"));
        peer.echo();
    });
    let proxy = Proxy::start(&Config::of(&backend).route("stable = \"only\"\nsticky = \"cookie\""));
    let mut visitor = proxy.visit();
    visitor.send(handshake(
        "/cable?x=1",
        "Origin: http://www.example.com\r\nSec-WebSocket-Protocol: a, b\r\nX-Forwarded-Proto: wss\r\nTE: trailers\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\nHTTP2-Settings: x\r\n",
    ));
    let request = backend.next();
    assert_eq!(request.line(), "GET /cable?x=1 HTTP/1.1");
    for (name, value) in [
        ("connection", Some("Upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ==")),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-protocol", Some("a, b")),
        ("sec-websocket-extensions", Some("permessage-deflate")),
        ("origin", Some("http://www.example.com")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("www.example.com")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("te", None),
        ("http2-settings", None),
        ("content-length", None),
    ] {
        assert_eq!(request.field(name), value, "{name} in\n{}", request.head);
    }
    let response = visitor.head();
    assert_eq!(response.status(), 101);
    for (name, value) in [
        ("connection", Some("Upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-accept", Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
        ("sec-websocket-protocol", Some("b")),
        ("keep-alive", None),
        ("content-length", None),
        ("transfer-encoding", None),
    ] {
        assert_eq!(response.field(name), value, "{name} in\n{}", response.head);
    }
    assert!(response.field("set-cookie").is_some_and(|cookie| cookie.starts_with("crossfade=")));
    echoes(&mut visitor, "hello");
}

#[test]
fn an_open_tunnel_is_counted_apart_and_recorded_once_when_it_ends() {
    let (_backend, proxy, mut visitor) = tunnel(Config::of, echo);
    echoes(&mut visitor, "hello");
    let only = [("route", "web"), ("backend", "only")];
    proxy.wait_for_metric(OPEN, &only, 1.0);
    proxy.wait_for_metric("crossfade_requests_in_flight", &only, 0.0);
    proxy.wait_for_metric("crossfade_bytes_total", &[("direction", "in")], 11.0);
    proxy.wait_for_metric("crossfade_bytes_total", &[("direction", "out")], 11.0);
    assert_eq!(proxy.metric("crossfade_requests_total", &[]) as u64, 0, "it hasn't ended");
    visitor.half_close();
    assert!(visitor.is_closed_cleanly());
    let record = is_recorded(&proxy, Value::Null);
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&11.into(), &11.into()), "{record}");
    assert_eq!((&record["backend"], &record["path"]), (&"only".into(), &"/cable".into()));
    proxy.wait_for_metric("crossfade_requests_total", &[("code", "101"), ("method", "GET")], 1.0);
    proxy.wait_for_metric("crossfade_bytes_total", &[], 22.0);
    assert_eq!(proxy.metric("crossfade_backend_failures_total", &[]) as u64, 0);
    assert!(proxy.records().is_empty(), "one record each");
}

/// Two backends that say their names in a frame.
fn named() -> [Backend; 2] {
    ["old", "new"].map(|name| {
        Backend::start(move |mut peer| {
            peer.request();
            peer.send(agreed(""));
            peer.send(frame(TEXT, name.as_bytes()));
            peer.echo();
        })
    })
}

fn of_named([old, new]: &[Backend; 2], percent: u32) -> Config {
    let route = format!(
        "stable = \"old\"\nweights = {{ old = {}, new = {percent} }}\npin = {{ header = \"X-Pin\" }}",
        100 - percent
    );
    Config::new().backend("old", &old.url(), "").backend("new", &new.url(), "").route(&route)
}

#[test]
fn a_tunnel_goes_where_weights_and_pins_say_and_no_change_of_them_touches_it() {
    let backends = named();
    let proxy = Proxy::start(&of_named(&backends, 0));
    let mut stable = opened(&proxy, "/", "");
    let mut pinned = opened(&proxy, "/", "X-Pin: new\r\n");
    assert_eq!((stable.take(5), pinned.take(5)), (frame(TEXT, b"old"), frame(TEXT, b"new")));
    for (revision, percent) in [(2, 100), (3, 0), (4, 100)] {
        fs::write(proxy.config_path(), of_named(&backends, percent).text()).unwrap();
        proxy.wait_for_metric("crossfade_revision", &[], f64::from(revision));
        echoes(&mut stable, "still here");
        echoes(&mut pinned, "still here");
    }
    assert_eq!(opened(&proxy, "/", "").take(5), frame(TEXT, b"new"), "the next one goes by the new weights");
    proxy.wait_for_metric(OPEN, &[("backend", "old")], 1.0);
    proxy.wait_for_metric(OPEN, &[("backend", "new")], 1.0);
}

#[test]
fn a_tunnel_to_a_backend_over_tls() {
    let authority = Authority::new();
    let backend = Backend::start_tls(authority.server(&["127.0.0.1"]), echo);
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write(directory.path());
    let proxy = Proxy::start(&Config::of_url(&backend.url(), &format!("ca_file = \"{}\"", ca.display())));
    let mut visitor = opened(&proxy, "/cable", "");
    (0..100).for_each(|_| echoes(&mut visitor, "hello"));
    visitor.half_close();
    visitor.rest();
    is_recorded(&proxy, Value::Null);
}

#[test]
fn what_is_no_websocket_handshake_goes_on_without_the_upgrade() {
    let backend = Backend::answering(ok("plain"));
    let proxy = Proxy::start(&Config::of(&backend));
    let whole = handshake("/", "");
    for (what, with) in [
        ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"),
        ("Upgrade: websocket\r\n", "Upgrade: websocket, h2c\r\n"),
        ("Upgrade: websocket\r\n", "Upgrade: websocket\r\nUpgrade: TLS/1.0\r\n"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("Sec-WebSocket-Version: 13\r\n", ""),
        ("GET ", "POST "),
        ("HTTP/1.1", "HTTP/1.0"),
        ("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody"),
        ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
    ] {
        let mut visitor = proxy.visit();
        visitor.send(whole.replace(what, with));
        assert_eq!(visitor.response().text(), "plain", "{with}");
        let request = backend.next();
        assert_eq!((request.field("upgrade"), request.field("connection")), (None, None), "{with}");
    }
}

#[test]
fn any_other_answer_is_an_answer_and_the_connection_goes_on() {
    for (status, fields) in [
        ("200 OK", ""),
        ("302 Found", "Location: /login\r\n"),
        ("401 Unauthorized", "WWW-Authenticate: Basic\r\n"),
        ("403 Forbidden", ""),
        (
            "426 Upgrade Required",
            "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        ),
    ] {
        let backend = Backend::answering(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 2\r\n\r\nno"));
        let proxy = Proxy::start(&Config::of(&backend));
        let mut visitor = proxy.visit();
        for path in ["/a", "/b"] {
            visitor.send(handshake(path, ""));
            let response = visitor.response();
            assert_eq!((response.line(), response.text()), (&*format!("HTTP/1.1 {status}"), "no".to_owned()));
            assert_eq!(response.field("upgrade"), None);
        }
        assert_eq!(visitor.get("/c").text(), "no");
        assert_eq!(backend.accepted(), 1, "its connection is reused");
    }
}

#[test]
fn a_switch_that_was_not_asked_for_is_no_answer() {
    for (asked, answer) in [
        (true, agreed("").replace("Upgrade: websocket", "Upgrade: h2c")),
        (true, agreed("").replace("Upgrade: websocket\r\n", "")),
        (true, agreed("").replace("Connection: Upgrade\r\n", "")),
        (true, agreed("").replace("HTTP/1.1", "HTTP/1.0")),
        (true, agreed("").replace("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c")),
        (false, agreed("")),
    ] {
        let backend = Backend::answering(answer.clone());
        let proxy = Proxy::start(&Config::of(&backend));
        let mut visitor = proxy.visit();
        visitor.send(if asked { handshake("/", "") } else { "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() });
        let response = visitor.response();
        assert_eq!((response.status(), response.reason()), (502, Some("bad_response")), "{answer}");
        wait_until("its connection is dropped", || backend.open() == 0);
    }
}

#[test]
fn what_a_visitor_sends_too_early_waits_for_the_switch_and_is_not_lost() {
    let (backend, proxy) = held(agreed(""));
    let early = masked(TEXT, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut visitor = proxy.visit();
    visitor.send([handshake("/", "").as_bytes(), &early].concat());
    visitor.send(masked(TEXT, b"more"));
    backend.next();
    backend.go_on();
    assert_eq!(visitor.head().status(), 101);
    let both = [early, masked(TEXT, b"more")].concat();
    assert_eq!(visitor.take(both.len()), both);
    echoes(&mut visitor, "and on");
}

/// A backend that answers so once it hears a word, if it has got nothing behind the request by then.
fn held(answer: String) -> (Backend, Proxy) {
    let backend = Backend::start(move |mut peer| {
        while peer.request().is_some() {
            peer.await_word();
            assert!(peer.is_silent_for(Duration::from_millis(50)), "not a byte before the switch");
            peer.send(&answer);
            if answer.contains(" 101 ") {
                return peer.echo();
            }
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    (backend, proxy)
}

#[test]
fn what_follows_a_refused_handshake_is_read_as_http_and_strictly() {
    let (backend, proxy) = held(ok("no"));
    let mut visitor = proxy.visit();
    visitor.send(handshake("/", "") + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(backend.next().target(), "/");
    visitor.send("GET /third HTTP/1.1\r\nHost: a\r\n\r\n");
    for path in ["/next", "/third"] {
        backend.go_on();
        assert_eq!(visitor.response().text(), "no");
        assert_eq!(backend.next().target(), path);
    }
    backend.go_on();
    assert_eq!(visitor.response().text(), "no");

    visitor.send([handshake("/", "").as_bytes(), &masked(TEXT, b"a frame")].concat());
    backend.next();
    backend.go_on();
    assert_eq!(visitor.response().text(), "no");
    let refused = visitor.response();
    assert_eq!((refused.status(), refused.field("connection")), (400, Some("close")));
    assert!(visitor.is_closed_cleanly());
    assert!(backend.seen().is_empty(), "nothing of it reaches a backend");
}

#[test]
fn early_bytes_are_bounded_while_the_backend_thinks() {
    let (backend, proxy) = held(agreed(""));
    let mut visitor = proxy.visit();
    visitor.send(handshake("/", ""));
    backend.next();
    let before = proxy.memory();
    let sent = visitor.send_until_stalled(64 * 1024 * 1024, Duration::from_millis(300));
    let grown = proxy.memory().saturating_sub(before);
    assert!(sent < 32 * 1024 * 1024 && grown < 8 * 1024 * 1024, "{sent} were taken, {grown} kept");
    backend.go_on();
    assert_eq!(visitor.head().status(), 101);
    assert_eq!(visitor.take(sent).len(), sent, "not one is lost");
}

#[test]
fn a_handshake_lost_to_a_connection_just_closed_is_sent_again() {
    let backend = Backend::start(|mut peer| {
        if peer.number == 0 {
            peer.request();
            peer.send(ok("first"));
            peer.request();
        } else {
            echo(peer);
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    assert_eq!(proxy.get("/").text(), "first");
    echoes(&mut opened(&proxy, "/", ""), "hello");
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn the_end_of_one_direction_is_passed_on_and_the_other_finishes() {
    let (_backend, proxy, mut visitor) = tunnel(Config::of, |mut peer| {
        peer.request();
        peer.send(agreed(""));
        peer.hang();
        peer.send(frame(TEXT, b"goodbye"));
    });
    visitor.half_close();
    assert_eq!(visitor.take(9), frame(TEXT, b"goodbye"));
    assert!(visitor.is_closed_cleanly());
    is_recorded(&proxy, Value::Null);

    let (backend, proxy, mut visitor) = tunnel(Config::of, |mut peer| {
        peer.request();
        peer.send(agreed("").as_bytes());
        peer.send(frame(TEXT, b"last"));
        peer.half_close();
        let request = peer.take(11);
        assert_eq!(request, masked(TEXT, b"reply"));
    });
    assert_eq!(visitor.take(6), frame(TEXT, b"last"));
    assert!(visitor.is_closed_cleanly(), "its end is passed on");
    visitor.send(masked(TEXT, b"reply"));
    visitor.half_close();
    wait_until("the backend has it", || backend.open() == 0);
    is_recorded(&proxy, Value::Null);
}

#[test]
fn a_side_that_breaks_ends_both_and_is_named() {
    let (_backend, proxy, mut visitor) = tunnel(Config::of, |mut peer| {
        peer.request();
        peer.send(agreed(""));
        peer.take(1);
        peer.reset();
    });
    visitor.send("x");
    visitor.rest();
    is_recorded(&proxy, "tunnel_broken");
    assert_eq!(proxy.metric("crossfade_backend_failures_total", &[("reason", "tunnel_broken")]) as u64, 1);

    let (backend, proxy, mut visitor) = tunnel(Config::of, echo);
    echoes(&mut visitor, "hello");
    visitor.reset();
    wait_until("the backend's connection ends", || backend.open() == 0);
    is_recorded(&proxy, "visitor_gone");
}

#[test]
fn silence_ends_a_tunnel_and_the_time_for_requests_does_not() {
    let timeouts = "[timeouts]\nrequest = \"200ms\"\nidle_body = \"200ms\"\ntunnel_idle = \"600ms\"";
    let (backend, proxy, mut visitor) = tunnel(|backend| Config::of(backend).section(timeouts), echo);
    for _ in 0..3 {
        pause(Duration::from_millis(300));
        echoes(&mut visitor, "a heartbeat");
    }
    assert!(visitor.is_closed_cleanly());
    wait_until("the backend's connection ends", || backend.open() == 0);
    let record = is_recorded(&proxy, "tunnel_idle");
    assert!(record["duration_ms"].as_f64().unwrap() >= 1500.0, "{record}");
    assert!(
        proxy.metric("crossfade_request_duration_seconds_sum", &[]) < 0.5,
        "as a request it took to the 101"
    );
}

#[test]
fn who_does_not_read_slows_the_other_side_down_and_costs_no_memory() {
    let (_backend, proxy, mut visitor) = tunnel(Config::of, |mut peer| {
        peer.request();
        peer.send(agreed(""));
        peer.await_word();
        peer.echo();
    });
    let before = proxy.memory();
    let sent = visitor.send_until_stalled(256 * 1024 * 1024, Duration::from_millis(300));
    let grown = proxy.memory().saturating_sub(before);
    assert!(sent < 128 * 1024 * 1024 && grown < 4 * 1024 * 1024, "{sent} were taken, {grown} kept");
}
