//! Requests of HTTP/2 whose fields would be something else in HTTP/1.1: each of the table to the recording backend,
//! with a sentinel on the same connection.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::recorder::{Heading, Recorder};
use super::table::{self, Case, bytes};
use super::{address, in_parallel};
use crate::kit::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, PREFACE, WHOLE, asking};
use crate::kit::frames::{frame, settings};
use crate::kit::{Config, Proxy};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

#[test]
fn what_http2_says_is_the_same_in_http1_or_goes_no_further() {
    let recorder = Recorder::start();
    let config = Config::of_url(&format!("http://{}", recorder.address), "host = \"preserve\"")
        .server("workers = 2")
        .section("[timeouts]\nrequest_head = \"1500ms\"\nidle_body = \"1500ms\"");
    let proxy = Proxy::start(&config);
    let visited = proxy.address;
    let cases = table::read(&[("frames", include_str!("frames.txt"))]);
    let rows: Vec<(usize, &Case)> = cases.iter().enumerate().collect();
    let mut wrong = in_parallel(&rows, |(number, case)| {
        play(visited, *number, case).map_err(|fault| format!("{}: {fault}", case.name))
    });
    let mut heard = HashMap::<String, Vec<Heading>>::new();
    for told in recorder.heard() {
        match told {
            Ok(request) => heard.entry(request.values("x-forwarded-for").concat()).or_default().push(request),
            Err(fault) => wrong.push(format!("the backend read {fault}")),
        }
    }
    for (number, case) in &rows {
        let requests = heard.remove(&address(*number).to_string()).unwrap_or_default();
        let own = requests.iter().filter(|request| request.what != "GET /sentinel").collect::<Vec<_>>();
        if let Err(fault) = held(case, &own) {
            wrong.push(format!("{}: {fault}, of {own:?}", case.name));
        }
    }
    wrong.extend(heard.keys().map(|from| format!("a request of nobody: {from}")));
    println!("{} requests in frames", rows.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn play(proxy: SocketAddr, number: usize, case: &Case) -> Result<(), String> {
    let socket = super::answers::connected(address(number), proxy);
    let mut visitor = Frames { socket };
    let (fields, body) = request(&case.bytes);
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    visitor.send([PREFACE, &settings(&[])].concat());
    match &body {
        Some(body) => {
            visitor.send(frame(HEADERS, END_HEADERS, 1, block));
            visitor.send(frame(DATA, END_STREAM, 1, body));
        }
        None => drop(visitor.send(frame(HEADERS, WHOLE, 1, block))),
    }
    let outcome = visitor.outcome(1);
    let passes = case.expected[0].starts_with("pass");
    let fits = match (case.expected[0].as_str(), outcome) {
        ("method", Outcome::Status(405)) | ("expectation", Outcome::Status(417)) => true,
        ("refused", Outcome::Status(400) | Outcome::Stream(1) | Outcome::Connection(1)) => true,
        (_, Outcome::Status(200)) => passes,
        _ => false,
    };
    if !fits {
        return Err(format!("{outcome:?}"));
    }
    if matches!(outcome, Outcome::Connection(_)) {
        return Ok(());
    }
    visitor.send(asking(3, "/sentinel"));
    match visitor.outcome(3) {
        Outcome::Status(200) => Ok(()),
        other => Err(format!("the sentinel got {other:?}")),
    }
}

/// The fields of a row's request, and its body.
fn request(row: &[u8]) -> (Fields, Option<Vec<u8>>) {
    let usual = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p")];
    let mut fields: Fields = usual.map(|(name, value)| (name.into(), value.into())).to_vec();
    let mut body = None;
    let text: Vec<&[u8]> = split(row);
    for item in text.into_iter().filter(|item| !item.is_empty()) {
        let (word, rest) = match item.iter().position(|byte| *byte == b' ') {
            Some(at) if matches!(&item[..at], b"without" | b"again") => (&item[..at], &item[at + 1..]),
            _ => (&b""[..], item),
        };
        let at = rest.iter().position(|byte| *byte == b'=').unwrap_or(rest.len());
        let (name, value) = (rest[..at].to_vec(), rest.get(at + 1..).unwrap_or_default().to_vec());
        let own = fields.iter().position(|(field, _)| *field == name && name.starts_with(b":"));
        match (word, own) {
            (b"without", Some(own)) => drop(fields.remove(own)),
            (b"", _) if name == b"body" => body = Some(value),
            (b"", Some(own)) => fields[own].1 = value,
            _ => fields.push((name, value)),
        }
    }
    (fields, body)
}

fn split(row: &[u8]) -> Vec<&[u8]> {
    let mut items = Vec::new();
    let mut rest = row;
    while let Some(at) = rest.windows(3).position(|window| window == b" | ") {
        items.push(&rest[..at]);
        rest = &rest[at + 3..];
    }
    items.push(rest);
    items
}

/// A field without indexing, as it is (RFC 7541 section 6.2.2).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("rows are short"));
        bytes.extend(text);
    }
    bytes
}

fn held(case: &Case, requests: &[&Heading]) -> Result<(), String> {
    let words: Vec<&str> = case.expected[0].splitn(4, ' ').collect();
    let ["pass", method, target, ..] = words[..] else {
        return if requests.is_empty() { Ok(()) } else { Err("it was passed on".to_owned()) };
    };
    let [request] = requests else { return Err(format!("{} requests", requests.len())) };
    let body = words.get(3).map(|body| bytes(body)).unwrap_or_default();
    if request.what != format!("{method} {target}") || request.body != body {
        return Err("it is another".to_owned());
    }
    for item in &case.expected[1..] {
        let words: Vec<&str> = item.splitn(3, ' ').collect();
        let fits = match words[..] {
            ["has", name, value] => request.values(name) == [String::from_utf8_lossy(&bytes(value))],
            ["lacks", name] => request.values(name).is_empty(),
            _ => panic!("{}: {item:?} is no expectation", case.name),
        };
        if !fits {
            return Err(format!("not: {item}"));
        }
    }
    Ok(())
}
