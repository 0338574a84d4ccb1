//! A connection's bytes get the same verdict however they are cut, and a head that passes is read by another parser as
//! the one message that we took it for.

#![no_main]

use bytes::{Buf, BytesMut};
use crossfade_fuzz::config::limits::Limits;
use crossfade_fuzz::pieces;
use crossfade_fuzz::proxy::refusal::Refusal;
use crossfade_fuzz::server::body::{Body, Next};
use crossfade_fuzz::server::framing::{Found, Search};
use crossfade_fuzz::server::head::{self, Framing, Head};
use http::Version;

/// What becomes of a connection: the bytes that passed and where messages ended among them, and why it was refused.
#[derive(Debug, PartialEq)]
struct Fate {
    passed: Vec<u8>,
    ends: Vec<usize>,
    refused: bool,
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((ends, bytes)) = pieces::split(data) else { return };
    let limits = Limits { head_size: 1024, target_size: 128, header_count: 8, ..Limits::default() };
    let whole = fate(bytes, &[bytes.len()], &limits);
    are_equal(&whole, &fate(bytes, &ends, &limits));
    let each: Vec<usize> = (1..=bytes.len()).collect();
    are_equal(&whole, &fate(bytes, &each, &limits));
});

/// Of a body that is refused in its middle more has passed where it came in pieces.
fn are_equal(whole: &Fate, cut: &Fate) {
    assert_eq!((&whole.ends, whole.refused), (&cut.ends, cut.refused));
    assert!(if whole.refused { cut.passed.starts_with(&whole.passed) } else { cut.passed == whole.passed });
}

fn fate(bytes: &[u8], ends: &[usize], limits: &Limits) -> Fate {
    let mut fate = Fate { passed: Vec::new(), ends: Vec::new(), refused: false };
    let (mut search, mut body, mut here, mut at) = (Search::default(), None::<Body>, BytesMut::new(), 0);
    for &end in ends {
        here.extend_from_slice(&bytes[at..end]);
        at = end;
        match go_on(&mut fate, &mut search, &mut body, &mut here, limits) {
            Ok(()) => {}
            Err(_) => {
                fate.refused = true;
                return fate;
            }
        }
    }
    fate
}

/// Reads what is `here`: heads, and the bodies behind them.
fn go_on(
    fate: &mut Fate,
    search: &mut Search,
    body: &mut Option<Body>,
    here: &mut BytesMut,
    limits: &Limits,
) -> Result<(), Refusal> {
    loop {
        if let Some(open) = body {
            match open.next(here)? {
                Next::Data(data) => fate.passed.extend_from_slice(&data),
                Next::Trailers(_) => {}
                Next::End => {
                    *body = None;
                    fate.ends.push(fate.passed.len());
                }
                Next::More => return Ok(()),
            }
            continue;
        }
        if here.is_empty() {
            return Ok(());
        }
        match search.look(here, limits)? {
            Found::Head(length) => {
                let head = here.split_to(length).freeze();
                let read = head::read(&head, limits)?;
                is_one_message(&head, &read, limits);
                fate.passed.extend_from_slice(&head);
                *body = Some(Body::of(read.framing));
            }
            Found::Empty(length) => here.advance(length),
            Found::More => return Ok(()),
        }
    }
}

/// What hyper's parser makes of a head that passed, and what the letter of RFC 9112 says of it.
fn is_one_message(head: &[u8], read: &Head, limits: &Limits) {
    assert!(head.len() <= limits.head_size && head.ends_with(b"\r\n\r\n"));
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(head).expect("hyper reads what we pass");
    assert_eq!(parsed, httparse::Status::Complete(head.len()), "to the same byte");
    let line = head.split(|&byte| byte == b'\r').next().expect("there is a first line");
    let (method, path) = (request.method.expect("it has one"), request.path.expect("it has one"));
    let version = request.version.expect("it has one");
    assert_eq!(line, format!("{method} {path} HTTP/1.{version}").as_bytes(), "nothing between the words");
    let same =
        read.method == method && read.version == [Version::HTTP_10, Version::HTTP_11][usize::from(version)];
    assert!(same && read.headers.len() == request.headers.len());
    for field in request.headers.iter() {
        assert!(read.headers.get_all(field.name).iter().any(|value| value.as_bytes() == field.value));
    }
    assert!(request.headers.len() <= limits.header_count && path.len() <= limits.target_size);
    for (at, &byte) in head.iter().enumerate() {
        assert!(byte != b'\n' || head[at - 1] == b'\r', "a bare LF");
        assert!(byte != b'\r' || head[at + 1] == b'\n', "a bare CR");
        assert!(byte >= 0x20 && byte != 0x7f || matches!(byte, b'\r' | b'\n' | b'\t'), "a control character");
    }
    assert!(!head.windows(3).any(|three| matches!(three, b"\r\n " | b"\r\n\t")), "a folded line");
    let values = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    let (encodings, lengths) = (values("transfer-encoding"), values("content-length"));
    let framed = match (encodings.as_slice(), lengths.as_slice()) {
        ([], []) => Framing::Length(0),
        ([encoding], []) => {
            assert!(encoding.eq_ignore_ascii_case(b"chunked") && version == 1);
            Framing::Chunked
        }
        ([], [length, others @ ..]) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            let number =
                |digits: &[u8]| -> u64 { String::from_utf8_lossy(digits).parse().expect("it is a number") };
            assert!(others.iter().all(|other| number(other) == number(length)));
            Framing::Length(number(length))
        }
        both => panic!("two framings: {both:?}"),
    };
    assert_eq!(read.framing, framed);
}
