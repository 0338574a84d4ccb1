//! What connections cost on which nothing moves, and what is done when there is no memory for more.

use std::fs;
use std::sync::Arc;

use crate::kit::{Backend, Config, Proxy, Visitor, ok, wait_until};

const KIB: usize = 1024;
const BODY: usize = 1024 * KIB;
/// What a reader may cost who stands still, in a build without optimisation: both sides' buffers. Before 145 KiB.
const READER: usize = 130 * KIB;
/// … and an upload that nobody reads. Before 340 KiB.
const UPLOAD: usize = 256 * KIB;
/// What one may cost that rests.
const RESTING: usize = 16 * KIB;
const PLENTY: &str = "memory = \"512MiB\"";
const LEVEL: &str = "crossfade_memory_level";

fn bounded(backend: &Backend, limits: &str) -> Config {
    Config::of(backend).section(&format!("[limits]\n{limits}"))
}

/// Less than the program needs then: at rest it has enough of it, but what it has read it keeps, and it reads 3 MiB.
fn nothing() -> String {
    format!("memory = \"8MiB\"\n# {}", "x".repeat(3 * KIB * KIB))
}

/// Has it reread its configuration with other limits, and waits for the level that comes of them.
fn now(proxy: &Proxy, config: &Config, level: f64) {
    let text = config.text();
    fs::write(proxy.config_path(), text).unwrap();
    proxy.signal("HUP");
    proxy.wait_for_metric(LEVEL, &[], level);
}

#[test]
fn idle_connections_rest_and_are_served_as_before() {
    let backend = Backend::answering(ok("here"));
    let proxy = Proxy::start(&Config::of(&backend));
    let warm: Vec<Visitor> = (0..50).map(|_| proxy.visit()).collect();
    drop(warm);
    let before = proxy.memory();
    let mut visitors: Vec<Visitor> = (0..1000).map(|_| proxy.visit()).collect();
    for visitor in &mut visitors {
        assert_eq!(visitor.get("/").text(), "here");
    }
    wait_until("they rest", || {
        let each = proxy.memory().saturating_sub(before) / 1000;
        println!("an idle connection: {each} bytes");
        each < RESTING
    });
    for (number, visitor) in visitors.iter_mut().enumerate() {
        match number % 3 {
            0 => assert_eq!(visitor.get("/").text(), "here"),
            1 => {
                visitor.send("GET / HTTP/1.1\r\nHo");
                visitor.send("st: a.example\r\n\r\n");
                assert_eq!(visitor.response().text(), "here");
            }
            _ => {
                visitor.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(3));
                (0..3).for_each(|_| assert_eq!(visitor.response().text(), "here"));
            }
        }
    }
}

#[test]
fn readers_who_stand_still_cost_little_and_get_every_byte_later() {
    let body: Arc<str> =
        (0..BODY).map(|at| char::from(b'a' + (at / 7 % 26) as u8)).collect::<String>().into();
    let answer = ok(&body);
    let backend = Backend::by(move |_| answer.clone());
    let proxy = Proxy::start(&Config::of(&backend));
    assert_eq!(proxy.get("/").text().len(), BODY);
    let before = proxy.memory();
    let mut visitors: Vec<Visitor> = (0..100).map(|_| proxy.visit_narrowly()).collect();
    for visitor in &mut visitors {
        visitor.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(visitor.head().status(), 200);
    }
    // Whoever else comes is served, and with its answer all that there was to read for the others has been.
    assert_eq!(proxy.get("/").text().len(), BODY);
    let each = proxy.memory().saturating_sub(before) / 100;
    println!("a reader who stands still: {each} bytes");
    assert!(each < READER, "{each} bytes each");
    for visitor in visitors.iter_mut().take(20) {
        assert!(visitor.take(BODY) == body.as_bytes(), "every byte in its place");
    }
}

#[test]
fn uploads_that_nobody_reads_cost_little_and_arrive_whole_later() {
    let backend = Backend::start(|mut peer| {
        let Some(mut head) = peer.head() else { return };
        peer.await_word();
        peer.body(&mut head);
        peer.send(ok(&head.text().len().to_string()));
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let before = proxy.memory();
    let mut visitors: Vec<Visitor> = (0..40).map(|_| proxy.visit()).collect();
    let whole = format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n", 8 * BODY);
    let patience = std::time::Duration::from_millis(50);
    let sent: Vec<usize> = visitors
        .iter_mut()
        .map(|visitor| {
            visitor.send(&whole);
            visitor.send_until_stalled(8 * BODY, patience)
        })
        .collect();
    let each = proxy.memory().saturating_sub(before) / 40;
    println!("an upload that nobody reads: {each} bytes");
    assert!(each < UPLOAD, "{each} bytes each");
    (0..40).for_each(|_| backend.go_on());
    for (visitor, sent) in visitors.iter_mut().zip(sent) {
        visitor.send(vec![0; 8 * BODY - sent]);
        assert_eq!(visitor.response().text(), (8 * BODY).to_string());
    }
}

#[test]
fn without_memory_requests_are_shed_and_served_again_once_there_is_some() {
    let backend = Backend::answering(ok("here"));
    let proxy = Proxy::start(&bounded(&backend, PLENTY));
    // Seen: 0 on a busy machine, where the first look comes after the first visitor.
    proxy.wait_for_metric("crossfade_memory_limit_bytes", &[], (512 * KIB * KIB) as f64);
    let mut inside = proxy.visit();
    inside.send("GET / HTTP/1.1\r\nHost: a.exa");
    wait_until("it is accepted", || proxy.metric("crossfade_connections_open", &[]) > 0.0);
    now(&proxy, &bounded(&backend, &nothing()), 2.0);
    assert!(proxy.wait_for_event("memory.level").contains("short"));
    inside.send("mple\r\nAccept: application/json\r\n\r\n");
    let shed = inside.response();
    assert_eq!((shed.status(), shed.reason()), (503, Some("memory")));
    assert_eq!((shed.field("retry-after"), shed.field("connection")), (Some("2"), Some("close")));
    // Who comes now waits in the kernel's queue; health and metrics don't.
    let mut outside = proxy.visit();
    outside.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(proxy.told_at("/healthz").0, 200);
    assert_eq!(proxy.metric("crossfade_rejected_requests_total", &[("reason", "memory")]) as u64, 1);
    assert!(backend.seen().is_empty(), "nobody reached the backend");
    now(&proxy, &bounded(&backend, PLENTY), 0.0);
    assert_eq!(outside.response().text(), "here");
    assert_eq!(proxy.get("/").text(), "here");
}

#[test]
fn whoever_reads_nothing_goes_first_while_memory_is_short() {
    let backend = Backend::answering(ok(&"x".repeat(8 * BODY)));
    let proxy = Proxy::start(&bounded(&backend, PLENTY));
    let mut slow = proxy.visit_narrowly();
    slow.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(slow.head().status(), 200);
    now(&proxy, &bounded(&backend, &nothing()), 2.0);
    // It reads nothing in this time, and its exchange ends long before `timeouts.idle_body`.
    proxy.wait_for_metric("crossfade_requests_in_flight", &[], 0.0);
    proxy.wait_for_metric("crossfade_connections_open", &[], 0.0);
}
