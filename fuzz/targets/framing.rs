//! A connection's bytes get the same verdict however they are cut, and a head that passes is read by hyper's parser as
//! the one message that we took it for.

#![no_main]

use crossfade_fuzz::config::limits::Limits;
use crossfade_fuzz::pieces;
use crossfade_fuzz::server::framing::{Framer, Passage};

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
    let (mut framer, mut at) = (Framer::at_start(), 0);
    for &end in ends {
        while at < end {
            let before = framer;
            match framer.pass(&bytes[at..end], limits) {
                Ok(Passage::Pass(length)) => {
                    assert!(length > 0 && length <= end - at);
                    if before.between_messages() || matches!(before, Framer::Head { .. }) {
                        is_one_message(&bytes[at..at + length], framer, limits);
                    }
                    fate.passed.extend_from_slice(&bytes[at..at + length]);
                    at += length;
                    if framer.between_messages() {
                        fate.ends.push(at);
                    }
                }
                Ok(Passage::Skip(length)) => at += length,
                Ok(Passage::More) => break,
                Err(_) => {
                    fate.refused = true;
                    return fate;
                }
            }
        }
    }
    fate
}

/// What hyper's parser makes of a head that passed, and what the letter of RFC 9112 says of it.
fn is_one_message(head: &[u8], then: Framer, limits: &Limits) {
    assert!(head.len() <= limits.head_size && head.ends_with(b"\r\n\r\n"));
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(head).expect("hyper reads what we pass");
    assert_eq!(parsed, httparse::Status::Complete(head.len()), "to the same byte");
    let line = head.split(|&byte| byte == b'\r').next().expect("there is a first line");
    let (method, path) = (request.method.expect("it has one"), request.path.expect("it has one"));
    let version = request.version.expect("it has one");
    assert_eq!(line, format!("{method} {path} HTTP/1.{version}").as_bytes(), "nothing between the words");
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
        ([], []) => Framer::at_start(),
        ([encoding], []) => {
            assert!(encoding.eq_ignore_ascii_case(b"chunked") && version == 1);
            return assert!(matches!(then, Framer::Chunked(_)));
        }
        ([], [length, others @ ..]) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            let number =
                |digits: &[u8]| -> u64 { String::from_utf8_lossy(digits).parse().expect("it is a number") };
            assert!(others.iter().all(|other| number(other) == number(length)));
            match number(length) {
                0 => Framer::at_start(),
                length => Framer::Length(length),
            }
        }
        both => panic!("two framings: {both:?}"),
    };
    assert_eq!(then, framed);
}
