//! What backends send: each answer of the table raw through the whole proxy to a visitor who reads by the letter, and
//! whose next request on the same connection has to be answered as itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use super::answers::{Answer, Caller};
use super::table::{self, Case, bytes};
use super::{SENTINEL, address, in_parallel};
use crate::kit::{Backend, Config, Peer, Proxy, ok};

/// What has to come of an answer.
#[derive(Debug, Default, Clone)]
struct Expected {
    /// The visitor's status, and the body or how the proxy names what is wrong.
    status: u16,
    body: Vec<u8>,
    reason: Option<String>,
    /// The visitor sees that the body is broken off.
    cut: bool,
    has: Vec<(String, String)>,
    lacks: Vec<String>,
    /// Nothing else is sent on the backend's connection.
    dropped: bool,
    /// The visitor asks by HEAD.
    head: bool,
    /// The backend closes behind the answer.
    closes: bool,
}

#[test]
fn no_answer_reaches_a_visitor_half_framed_nor_the_next_visitor_at_all() {
    let cases = table::read(&[("responses", include_str!("responses.txt"))]);
    let rows: Vec<(usize, &Case, Expected)> =
        cases.iter().enumerate().map(|(number, case)| (number, case, expected(case))).collect();
    let (tell, faults) = channel();
    let scripts: HashMap<String, (Vec<u8>, Expected)> =
        rows.iter().map(|(at, case, due)| (format!("/{at}"), (case.bytes.clone(), due.clone()))).collect();
    let scripts = Arc::new(scripts);
    let backend = Backend::start(move |peer| lie(peer, &scripts, &tell));
    let config = Config::of_url(&backend.url(), "first_byte_timeout = \"1s\"")
        .server("workers = 2")
        .section("[timeouts]\nidle_body = \"1s\"");
    let proxy = Proxy::start(&config);
    let visited = proxy.address;
    let mut wrong = in_parallel(&rows, |(number, case, due)| {
        play(visited, *number, due).map_err(|fault| format!("{}: {fault}", case.name))
    });
    wrong.extend(faults.try_iter().map(|at| format!("{}: its connection was used again", cases[at].name)));
    println!("{} answers", rows.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Answers by the table, on a connection that may not be used again where the table says so.
fn lie(mut peer: Peer, scripts: &HashMap<String, (Vec<u8>, Expected)>, tell: &Sender<usize>) {
    let mut spent = None;
    while let Some(request) = peer.request() {
        if let Some(at) = spent {
            let _ = tell.send(at);
            return;
        }
        let Some((answer, due)) = scripts.get(request.target()) else {
            peer.send(ok(request.target()));
            continue;
        };
        peer.send(answer);
        if due.closes {
            return;
        }
        spent = due.dropped.then(|| request.target()[1..].parse().unwrap());
    }
}

fn play(proxy: SocketAddr, number: usize, due: &Expected) -> Result<(), String> {
    let method = if due.head { "HEAD" } else { "GET" };
    let mut caller = Caller::connect(address(number), proxy);
    caller.send(format!("{method} /{number} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), usize::MAX);
    let Some(answer) = caller.answer(method)? else {
        return if due.cut { Ok(()) } else { Err("no answer".to_owned()) };
    };
    let told = answer.field("x-crossfade-error").map(str::to_owned);
    if (answer.status, &told) != (due.status, &due.reason) || answer.whole == due.cut {
        return Err(format!("{} {told:?}, whole: {}, {:?}", answer.status, answer.whole, answer.body));
    }
    if due.cut {
        let behind = caller.answer("GET")?;
        return behind.map_or(Ok(()), |answer| Err(format!("{answer:?} behind what is cut")));
    }
    if told.is_none() {
        holds(&answer, due)?;
    }
    caller.send(SENTINEL, usize::MAX);
    let next = caller.answer("GET")?.ok_or("closed before the sentinel's answer")?;
    if next.status == 200 && next.body == b"/sentinel" {
        return Ok(());
    }
    Err(format!("the next answer is {next:?}"))
}

fn holds(answer: &Answer, due: &Expected) -> Result<(), String> {
    if answer.body != due.body {
        return Err(format!("body {:?}", answer.body));
    }
    for (name, value) in &due.has {
        if answer.field(name) != Some(value) {
            return Err(format!("{name} isn't {value}: {:?}", answer.fields));
        }
    }
    let there = |name: &&String| answer.fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
    due.lacks.iter().find(there).map_or(Ok(()), |name| Err(format!("{name} is there")))
}

fn expected(case: &Case) -> Expected {
    let mut expected = Expected::default();
    for item in &case.expected {
        let words: Vec<&str> = item.splitn(3, ' ').collect();
        match words[..] {
            ["pass", status] => expected.status = status.parse().unwrap(),
            ["pass", status, body] => {
                (expected.status, expected.body) = (status.parse().unwrap(), bytes(body));
            }
            ["cut", status] => (expected.status, expected.cut) = (status.parse().unwrap(), true),
            ["has", name, value] => {
                expected.has.push((name.trim_end_matches(':').to_owned(), value.to_owned()));
            }
            ["lacks", name] => expected.lacks.push(name.to_owned()),
            ["dropped"] => expected.dropped = true,
            ["head"] => expected.head = true,
            ["closes"] => expected.closes = true,
            ["waits"] => {}
            [status, reason] => {
                (expected.status, expected.reason) = (status.parse().unwrap(), Some(reason.to_owned()));
            }
            _ => panic!("{}: {item:?} is no expectation", case.name),
        }
    }
    expected
}
