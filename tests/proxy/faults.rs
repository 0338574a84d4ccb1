//! What visitors get of a backend with a fault, one row a fault: an honest answer or a clean break, counted once by its
//! reason, in bounded time; nobody else notices, and nothing that could act twice is sent twice.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::faulty::{BODY, FAULT, Fault, Faulty, HEAD};
use crate::kit::http2_client::{Http2, Sent, request};
use crate::kit::{Backend, Config, Message, Proxy, ok, wait_until};

/// What a visitor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gets {
    /// The backend's whole answer.
    Whole,
    /// Our own answer in its place, of this status and reason.
    Error(u16, &'static str),
    /// The other backend's whole answer.
    Rescue,
    /// An answer that breaks off where it can be seen, for this reason.
    Cut(&'static str),
    /// Not a byte.
    Nothing,
}

impl Gets {
    fn reason(self) -> Option<&'static str> {
        match self {
            Error(_, reason) | Cut(reason) => Some(reason),
            Whole | Rescue | Nothing => None,
        }
    }
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
struct Expected {
    gets: Gets,
    rescued: bool,
}

impl Expected {
    /// What the visitor sees of it.
    fn shown(self) -> Gets {
        match self.gets {
            _ if self.rescued => Rescue,
            Cut(_) => Cut(""),
            gets => gets,
        }
    }
}

impl Rescued {
    fn means(self, asks: Asks) -> bool {
        self == Everybody || (self == Reads && asks.method() != "POST")
    }
}

/// Whose requests go to the route's other backend, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rescued {
    Nobody,
    /// Those that may be sent twice.
    Reads,
    Everybody,
}

/// A request of the fault's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Get,
    Post,
    Head,
    Http2Get,
    Http2Post,
}

use Asks::{Get, Head, Http2Get, Http2Post, Post};
use Gets::{Cut, Error, Nothing, Rescue, Whole};
use Rescued::{Everybody, Nobody, Reads};

const ALL: [Asks; 5] = [Get, Post, Head, Http2Get, Http2Post];

impl Asks {
    fn method(self) -> &'static str {
        match self {
            Get | Http2Get => "GET",
            Post | Http2Post => "POST",
            Head => "HEAD",
        }
    }
}

const FAILURES: &str = "crossfade_backend_failures_total";

/// How long the slowest of them may take: [`config`]'s timeouts, and time for a busy machine.
const SOON: Duration = Duration::from_secs(6);

fn config(fault: Fault, faulty: &Faulty, other: &Backend, failover: bool) -> Config {
    // Short where they are what ends the request; else long enough for a busy machine.
    let [first_byte, idle, request] = match fault {
        Fault::DripBody => ["8s", "8s", "900ms"],
        Fault::Hang | Fault::HangUnread | Fault::StallAnswer(_) | Fault::DripHead => ["500ms", "500ms", "8s"],
        _ => ["8s", "8s", "8s"],
    };
    let connect = if matches!(fault, Fault::Full | Fault::TlsHang) { "300ms" } else { "8s" };
    let timeouts = format!("connect_timeout = \"{connect}\"\nfirst_byte_timeout = \"{first_byte}\"\n");
    Config::new()
        .backend("only", faulty.url(), &format!("{timeouts}{}", faulty.keys()))
        .backend("other", &other.url(), "")
        .section(&format!("[timeouts]\nidle_body = \"{idle}\"\nrequest = \"{request}\""))
        .route(&format!(
            "stable = \"other\"\nweights = {{ only = 100, other = 0 }}\nfailover = {failover}\n\
             pin = {{ header = \"X-Pin\" }}"
        ))
}

/// Each row without failover and with it: a fault, what visitors get, what a HEAD gets, who is rescued.
fn hold(rows: &[(Fault, Gets, Gets, Rescued)]) {
    for &(fault, gets, head_gets, rescued) in rows {
        let by = |failover| {
            let expected = |asks| Expected {
                gets: if asks == Head { head_gets } else { gets },
                rescued: failover && rescued.means(asks),
            };
            holds(fault, failover, ALL.map(expected));
        };
        std::thread::scope(|scope| {
            scope.spawn(|| by(false));
            by(true);
        });
    }
}

/// By each kind of visitor.
fn holds(fault: Fault, failover: bool, expected: [Expected; ALL.len()]) {
    let (faulty, other) = (Faulty::start(fault), Backend::by(other));
    let proxy = Proxy::start(&config(fault, &faulty, &other, failover));
    for (asks, expected) in ALL.into_iter().zip(expected) {
        let case = format!("{fault:?} {asks:?} failover {failover}");
        let began = Instant::now();
        let got = ask(&proxy, asks, fault);
        assert!(began.elapsed() < SOON, "{case}: it took {:?}", began.elapsed());
        assert_eq!(got, expected.shown(), "{case}");
        acted_once(&faulty, asks);
        others_are_served(&proxy, fault);
    }
    are_counted(&proxy, expected);
    wait_until("no connection with a fault is kept", || faulty.open() <= 1 || fault == Fault::HangUnread);
}

fn other(request: &Message) -> String {
    let body = if request.line().starts_with("HEAD") { "" } else { "other" };
    format!("HTTP/1.1 200 OK\r\nX-From: other\r\nContent-Length: 5\r\n\r\n{body}")
}

/// One record each; each attempt that failed is counted by its reason, but for those that a connection used before
/// cost: no more than one a request.
fn are_counted(proxy: &Proxy, expected: [Expected; ALL.len()]) {
    proxy.wait_for_metric("crossfade_requests_in_flight", &[], 0.0);
    let records: Vec<Value> = proxy.records().into_iter().filter(|record| record["path"] == FAULT).collect();
    assert_eq!(records.len(), expected.len(), "{records:#?}");
    let (mut least, mut most) = (0.0, 0.0);
    for (record, Expected { gets, rescued }) in records.iter().zip(expected) {
        let attempts = record["attempts"].as_f64().expect("it is a number");
        let reason = gets.reason().filter(|_| !rescued).map_or(Value::Null, Value::from);
        assert_eq!(record["reason"], reason, "{record}");
        let backend = if rescued { "other" } else { "only" };
        assert_eq!(record["backend"], backend, "{record}");
        if gets.reason().is_some() {
            let failed = if rescued { attempts - 1.0 } else { attempts };
            least += (failed - 1.0).max(1.0);
            most += failed;
        }
    }
    let reason = expected[0].gets.reason().unwrap_or("none");
    let counted = proxy.metric(FAILURES, &[("backend", "only"), ("reason", reason)]);
    assert!((least..=most).contains(&counted), "{counted} {reason} of {records:#?}");
    assert_eq!(proxy.metric(FAILURES, &[]), counted, "no other reason, and no other backend");
}

/// A POST came to the backend once at the most.
fn acted_once(faulty: &Faulty, asks: Asks) {
    let acted = faulty.seen().iter().filter(|seen| seen.line().starts_with("POST")).count();
    assert!(acted <= usize::from(asks.method() == "POST"), "it acted {acted} times");
}

fn others_are_served(proxy: &Proxy, fault: Fault) {
    let mut visitor = proxy.visit();
    visitor.send("GET /fine HTTP/1.1\r\nHost: a\r\nX-Pin: other\r\n\r\n");
    assert_eq!(visitor.response().text(), "other");
    if !fault.is_of_all() {
        visitor.send("GET /fine HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(visitor.response().text(), "fine");
    }
}

/// What comes of one request for [`FAULT`]. An answer with broken framing fails in the kit.
fn ask(proxy: &Proxy, asks: Asks, fault: Fault) -> Gets {
    // What is answered early has to be too long to have come already.
    let body = if fault == Fault::Early { "x".repeat(300_000) } else { "once".to_owned() };
    let body = if asks.method() == "POST" { body } else { String::new() };
    let mut visitor = match asks {
        Http2Get | Http2Post => return ask_http2(proxy, asks, body),
        Get | Post | Head => proxy.visit(),
    };
    let length = if asks == Post { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    visitor.send(format!("{} {FAULT} HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}", asks.method()));
    loop {
        let Some(answer) = visitor.try_response_to(asks.method()) else { return Nothing };
        match answer.status() {
            100..=199 => {}
            200 if !answer.whole => return Cut(""),
            status => return gets(asks, status, [answer.reason(), answer.field("x-from")], &answer.text()),
        }
    }
}

fn ask_http2(proxy: &Proxy, asks: Asks, body: String) -> Gets {
    let mut visitor = Http2::connect(proxy.address);
    let request = request(asks.method(), FAULT);
    let answer = match asks {
        Http2Post => visitor.send(request, Sent { body: body.into_bytes(), ..Sent::default() }),
        _ => visitor.ask(request),
    };
    match answer {
        Ok(answer) => {
            let fields = ["x-crossfade-error", "x-from"].map(|name| answer.field(name));
            gets(asks, answer.status, fields, &answer.text())
        }
        Err(error) => {
            assert!(error.is_reset(), "the stream, not the connection: {error}");
            Cut("")
        }
    }
}

fn gets(asks: Asks, status: u16, [reason, from]: [Option<&str>; 2], text: &str) -> Gets {
    match (status, reason, from) {
        (200, None, None) if text == BODY || (text.is_empty() && asks == Head) => Whole,
        (200, None, Some("other")) if text == "other" || asks == Head => Rescue,
        (status, Some(reason), None) => {
            let known = REASONS.into_iter().find(|&known| known == reason);
            Error(status, known.unwrap_or_else(|| panic!("{reason}")))
        }
        unexpected => panic!("{unexpected:?} with {text:?}"),
    }
}

const REASONS: [&str; 6] =
    ["connect_refused", "connect_timeout", "tls", "closed", "first_byte_timeout", "bad_response"];

#[test]
fn who_cannot_be_reached() {
    let [refused, slow, tls] =
        [Error(502, "connect_refused"), Error(504, "connect_timeout"), Error(502, "tls")];
    hold(&[
        (Fault::Refuse, refused, refused, Everybody),
        (Fault::Full, slow, slow, Everybody),
        (Fault::Unbelieved, tls, tls, Everybody),
        (Fault::NoTls, tls, tls, Everybody),
        (Fault::TlsHang, slow, slow, Everybody),
    ]);
}

#[test]
fn who_goes_away_before_an_answer() {
    let closed = Error(502, "closed");
    hold(&[
        (Fault::ResetRequest(1), closed, closed, Reads),
        (Fault::ResetRequest(40), closed, closed, Reads),
        (Fault::Close, closed, closed, Reads),
        (Fault::HalfClose, closed, closed, Reads),
        (Fault::ResetAnswer(0), closed, closed, Reads),
        (Fault::ResetAnswer(1), closed, closed, Reads),
        (Fault::ResetAnswer(HEAD - 1), closed, closed, Reads),
        (Fault::CloseAnswer(10), closed, closed, Reads),
    ]);
}

#[test]
fn who_does_not_come_to_an_answer() {
    let (late, bad) = (Error(504, "first_byte_timeout"), Error(502, "bad_response"));
    hold(&[
        (Fault::Hang, late, late, Nobody),
        (Fault::HangUnread, late, late, Nobody),
        (Fault::StallAnswer(HEAD - 1), late, late, Nobody),
        (Fault::DripHead, late, late, Nobody),
        (Fault::Garbage, bad, bad, Nobody),
        (Fault::HugeHead, bad, bad, Nobody),
        // Seen: its worker was busy for a second at a time, and timeouts of 300 ms came after 2.5 s.
        (Fault::Storm, bad, bad, Nobody),
    ]);
}

#[test]
fn who_breaks_off_an_answer() {
    let (broken, late) = (Cut("response_body_broken"), Cut("response_body_timeout"));
    hold(&[
        (Fault::ResetAnswer(HEAD), broken, Whole, Nobody),
        (Fault::ResetAnswer(HEAD + 6), broken, Whole, Nobody),
        (Fault::CloseAnswer(HEAD), broken, Whole, Nobody),
        (Fault::CloseAnswer(HEAD + 6), broken, Whole, Nobody),
        (Fault::StallAnswer(HEAD + 6), late, Whole, Nobody),
        (Fault::DripBody, Cut("request_timeout"), Whole, Nobody),
        (Fault::BadChunks, broken, Whole, Nobody),
        (Fault::ResetUnframed, broken, Whole, Nobody),
        (Fault::TlsCut, broken, Whole, Nobody),
    ]);
}

#[test]
fn who_answers_in_a_strange_way() {
    hold(&[
        (Fault::Long, Whole, Whole, Nobody),
        (Fault::Twice, Whole, Whole, Nobody),
        (Fault::Early, Whole, Whole, Nobody),
        (Fault::CloseSilently, Whole, Whole, Nobody),
        (Fault::NoKeepAlive, Whole, Whole, Nobody),
        (Fault::HalfCloseAfter, Whole, Whole, Nobody),
    ]);
}

/// Seen: a backend that closed right behind its answer's head left the visitor with a connection that ended without a
/// byte. A browser takes that for a stale one, and sends even a POST again.
#[test]
fn a_visitor_hears_that_an_answer_had_begun() {
    let (faulty, other) = (Faulty::start(Fault::CloseAnswer(HEAD)), Backend::answering(ok("")));
    let proxy = Proxy::start(&config(Fault::CloseAnswer(HEAD), &faulty, &other, false));
    for _ in 0..100 {
        assert_eq!(ask(&proxy, Post, Fault::CloseAnswer(HEAD)), Cut(""));
    }
}

/// Seen: a backend that answered before it had read the body, and closed, was answered for with 502: its reset broke
/// the upload before anybody looked at what had come.
#[test]
fn an_answer_is_not_lost_with_the_upload_it_ends() {
    let (faulty, other) = (Faulty::start(Fault::Early), Backend::answering(ok("")));
    let proxy = Proxy::start(&config(Fault::Early, &faulty, &other, false));
    for _ in 0..50 {
        assert_eq!(ask(&proxy, Post, Fault::Early), Whole);
    }
}
