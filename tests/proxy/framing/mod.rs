//! Framing and smuggling: tables of raw requests, each through the whole proxy to a backend that records by the letter.
//!
//! What stands in the tables follows from RFC 9112 and RFC 9110, not from what the code does: where peers disagree, the
//! request is refused, but for what visitors commonly send. Behind each case stands a sentinel: a request that is
//! answered as itself, or never heard of since the connection was closed.

mod answers;
mod frames;
mod recorder;
mod responses;
mod table;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;

use answers::Caller;
use recorder::{Heading, Recorder};
use table::{Case, bytes};

use crate::kit::{Config, Proxy};

const TABLES: [(&str, &str); 7] = [
    ("lengths", include_str!("lengths.txt")),
    ("encodings", include_str!("encodings.txt")),
    ("chunks", include_str!("chunks.txt")),
    ("lines", include_str!("lines.txt")),
    ("fields", include_str!("fields.txt")),
    ("hops", include_str!("hops.txt")),
    ("streams", include_str!("streams.txt")),
];
const SENTINEL: &[u8] = b"GET /sentinel HTTP/1.1\r\nHost: sentinel.example\r\n\r\n";
/// Cases at a time.
const CALLERS: usize = 24;
/// Whole, and in pieces of so many bytes.
const STEPS: [usize; 2] = [usize::MAX, 11];

/// What has to come of a case, in the order in which it has to come.
#[derive(Debug, Default)]
struct Expected {
    /// Requests that are passed on and answered: method and target, then the body.
    passed: Vec<(String, Vec<u8>)>,
    /// Fields that the last of them has, or hasn't.
    has: Vec<(String, String)>,
    lacks: Vec<String>,
    /// The refusal that ends the connection.
    refused: Option<(u16, String)>,
    /// The connection ends without another word.
    closed: bool,
    /// The visitor ends its side, and no sentinel follows.
    ends: bool,
    /// The visitor says no more.
    waits: bool,
}

/// One playing of a case.
struct Run<'a> {
    number: usize,
    case: &'a Case,
    step: usize,
}

#[test]
fn every_request_is_understood_in_one_way_or_refused() {
    let recorder = Recorder::start();
    let config = Config::of_url(&format!("http://{}", recorder.address), "host = \"preserve\"")
        .server("workers = 2")
        .section("[timeouts]\nrequest_head = \"1500ms\"\nidle_body = \"1500ms\"");
    let proxy = Proxy::start(&config);
    let cases = table::read(&TABLES);
    let all = STEPS.iter().flat_map(|step| cases.iter().map(|case| (case, *step)));
    let runs: Vec<Run<'_>> =
        all.enumerate().map(|(number, (case, step))| Run { number, case, step }).collect();
    let visited = proxy.address;
    let mut wrong = in_parallel(&runs, |run| {
        play(visited, run).map_err(|fault| format!("{} by {}: {fault}", run.case.name, run.step))
    });
    wrong.extend(recorded(&recorder, &runs));
    println!("{} cases in {} runs", cases.len(), runs.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Plays all runs, many at a time; what went wrong.
fn in_parallel<R: Sync>(runs: &[R], play: impl Fn(&R) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, (tell, wrong)) = (AtomicUsize::new(0), channel());
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let (next, play, tell) = (&next, &play, tell.clone());
            scope.spawn(move || {
                while let Some(run) = runs.get(next.fetch_add(1, SeqCst)) {
                    play(run).err().into_iter().for_each(|fault| tell.send(fault).unwrap());
                }
            });
        }
    });
    drop(tell);
    wrong.iter().collect()
}

/// Whose a request is, by number of the run.
fn address(number: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 77, high, low)
}

fn play(proxy: SocketAddr, run: &Run<'_>) -> Result<(), String> {
    let &Run { number, case, step } = run;
    let expected = expected(case);
    let mut caller = Caller::connect(address(number), proxy);
    let sentinel = !expected.ends && !expected.waits;
    let follows = if sentinel { SENTINEL } else { b"" };
    // Of what is large, the size is the point.
    let step = if case.bytes.len() > 2000 { usize::MAX } else { step };
    caller.send(&[&case.bytes[..], follows].concat(), step);
    if expected.ends {
        caller.end();
    }
    for (what, _) in &expected.passed {
        let method = what.split(' ').next().unwrap_or_default();
        let answer = caller.answer(method)?.ok_or(format!("closed before {what}"))?;
        let understood = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status != 200 || !answer.whole || (method != "HEAD" && understood != *what) {
            return Err(format!("for {what} came {} {:?}", answer.status, answer.field("x-crossfade-error")));
        }
    }
    if let Some((status, reason)) = &expected.refused {
        let answer = caller.answer("GET")?.ok_or(format!("closed without {status} {reason}"))?;
        let told = answer.field("x-crossfade-error").unwrap_or_default().to_owned();
        if (answer.status, &told) != (*status, reason) || answer.field("connection") != Some("close") {
            return Err(format!("for {status} {reason} came {} {told} {:?}", answer.status, answer.fields));
        }
    }
    let last = caller.answer("GET")?;
    let over = expected.refused.is_some() || expected.closed || expected.ends;
    match last {
        None if over => Ok(()),
        None => Err("closed before the sentinel's answer".to_owned()),
        Some(answer) if !over && answer.body == b"GET /sentinel" => Ok(()),
        Some(answer) => Err(format!("an answer too many: {} {:?}", answer.status, answer.fields)),
    }
}

/// Holds what the backend heard against what it had to hear.
fn recorded(recorder: &Recorder, runs: &[Run<'_>]) -> Vec<String> {
    let (mut wrong, mut heard) = (Vec::new(), HashMap::<String, Vec<Heading>>::new());
    for told in recorder.heard() {
        match told {
            Ok(request) => heard.entry(request.values("x-forwarded-for").concat()).or_default().push(request),
            Err(fault) => wrong.push(format!("the backend read {fault}")),
        }
    }
    for Run { number, case, step } in runs {
        let requests = heard.remove(&address(*number).to_string()).unwrap_or_default();
        if let Err(fault) = held(&expected(case), &requests) {
            wrong.push(format!("{} by {step}: {fault}, of {requests:?}", case.name));
        }
    }
    wrong.extend(heard.keys().map(|from| format!("a request of nobody: {from}")));
    wrong
}

fn held(expected: &Expected, requests: &[Heading]) -> Result<(), String> {
    let over = expected.refused.is_some() || expected.closed || expected.ends || expected.waits;
    let sentinel = (!over).then(|| ("GET /sentinel".to_owned(), Vec::new()));
    let due: Vec<_> = expected.passed.iter().chain(&sentinel).collect();
    if requests.len() != due.len() {
        return Err(format!("{} requests for {}", requests.len(), due.len()));
    }
    for ((what, body), request) in due.iter().zip(requests) {
        if request.what != *what || request.body != *body {
            return Err(format!("not {what} {body:?}"));
        }
    }
    let Some(last) = expected.passed.len().checked_sub(1) else { return Ok(()) };
    for (name, value) in &expected.has {
        let values = requests[last].values(name);
        if values != [value] {
            return Err(format!("{name} is {values:?}, not {value:?}"));
        }
    }
    let trailers = requests[last].trailers.iter();
    let names: Vec<&str> = trailers.filter_map(|line| line.split(':').next()).collect();
    let there = |name: &&String| {
        !requests[last].values(name).is_empty() || names.iter().any(|other| other.eq_ignore_ascii_case(name))
    };
    expected.lacks.iter().find(there).map_or(Ok(()), |name| Err(format!("{name} is there")))
}

fn expected(case: &Case) -> Expected {
    let mut expected = Expected::default();
    for item in &case.expected {
        let words: Vec<&str> = item.splitn(4, ' ').collect();
        match words[..] {
            ["pass", method, target] => expected.passed.push((said(method, target), Vec::new())),
            ["pass", method, target, body] => {
                expected.passed.push((said(method, target), bytes(body)));
            }
            ["has", name, ..] => {
                let value = item.splitn(3, ' ').nth(2).unwrap_or_default();
                let value = String::from_utf8_lossy(&bytes(value)).into_owned();
                expected.has.push((name.strip_suffix(':').unwrap_or(name).to_owned(), value));
            }
            ["lacks", name] => expected.lacks.push(name.to_owned()),
            ["closed"] => expected.closed = true,
            ["ends"] => expected.ends = true,
            ["waits"] => expected.waits = true,
            [status, reason] if status.parse::<u16>().is_ok() => {
                expected.refused = status.parse().ok().map(|status| (status, reason.to_owned()));
            }
            _ => panic!("{}: {item:?} is no expectation", case.name),
        }
    }
    expected
}

fn said(method: &str, target: &str) -> String {
    format!("{method} {}", String::from_utf8_lossy(&bytes(target)))
}
