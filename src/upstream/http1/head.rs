//! Pure: a response's head, and which body it says follows (RFC 9112 sections 4 to 6).
//!
//! `upstream::http1` calls it with what it has read. It must never guess: what can be read in two ways is malformed.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use httparse::{ParserConfig, Status};

use crate::config::limits::FIELDS_USUAL;
use crate::headers::length;
use crate::upstream::http1::body::{Body, Malformed};

/// What every response of a version that we read begins with.
const BEGIN: &[u8] = b"HTTP/1.";
/// Fields that are added on the way to the visitor, for room made once.
const OURS: usize = 2;

/// A response's head.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// HTTP/1.1 or 1.0.
    pub version: Version,
    /// Its fields.
    pub headers: HeaderMap,
    /// What follows.
    pub body: Body,
    /// Whether the connection ends with it.
    pub last: bool,
}

/// The head that `bytes` begin with, once it is whole, of at most so many `fields`; `to_head` where the request was
/// one of HEAD. What is taken is gone from `bytes`.
///
/// # Errors
/// When there is none.
pub fn parse(bytes: &mut BytesMut, fields: usize, to_head: bool) -> Result<Option<Head>, Malformed> {
    let known = bytes.len().min(BEGIN.len());
    if bytes[..known] != BEGIN[..known] {
        return Err(Malformed("a head that is none"));
    }
    let Some(end) = end(bytes) else { return Ok(None) };
    let head = bytes.split_to(end).freeze();
    let (status, version, headers) = if fields <= FIELDS_USUAL {
        fields_of(&head, &mut [const { MaybeUninit::uninit() }; FIELDS_USUAL])
    } else {
        fields_of(&head, &mut vec![MaybeUninit::uninit(); fields])
    }?;
    let body = body(status, version, &headers, to_head)?;
    let last = version == Version::HTTP_10 || body == Body::UntilClose || closes(&headers);
    Ok(Some(Head { status, version, headers, body, last }))
}

/// Where the head ends: behind the first empty line.
fn end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// What a whole head says. Its values stay where they were read to.
fn fields_of<'a>(
    head: &'a Bytes,
    room: &mut [MaybeUninit<httparse::Header<'a>>],
) -> Result<(StatusCode, Version, HeaderMap), Malformed> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, room);
    match parsed {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) | Err(_) => return Err(Malformed("a head that is none")),
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed("a status that is none"))?;
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(response.headers.len() + OURS);
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Malformed("a field that is none")) };
        headers.append(name, value);
    }
    Ok((status, version, headers))
}

/// RFC 9112 section 6.3. Two framings at once, and encodings that aren't `chunked` alone, are for whoever looks at
/// the whole response: it refuses them.
fn body(status: StatusCode, version: Version, headers: &HeaderMap, to_head: bool) -> Result<Body, Malformed> {
    let encoded = headers.contains_key(TRANSFER_ENCODING);
    if encoded && version == Version::HTTP_10 {
        return Err(Malformed("chunks in HTTP/1.0"));
    }
    let none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if to_head || none || status.is_informational() {
        return Ok(Body::Length(0));
    }
    if encoded {
        return Ok(Body::chunked());
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(Body::UntilClose) };
    let length = length::of(first.as_bytes()).filter(|_| lengths.all(|other| other == first));
    length.map(Body::Length).ok_or(Malformed("a length that is none"))
}

/// Whether the backend says that the connection ends with this response (RFC 9112 section 9.6).
fn closes(headers: &HeaderMap) -> bool {
    let options = headers.get_all(CONNECTION).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Result<Option<Head>, Malformed> {
        parse(&mut BytesMut::from(head), 100, false)
    }

    #[test]
    fn a_head_says_which_body_follows_and_whether_the_connection_goes_on() {
        for (fields, body, last) in [
            ("200 OK\r\nContent-Length: 5\r\n", Body::Length(5), false),
            ("200\r\ncontent-length: 5\r\nContent-Length: 5\r\n", Body::Length(5), false),
            ("200 OK\r\nTransfer-Encoding: chunked\r\n", Body::chunked(), false),
            ("200 OK\r\n", Body::UntilClose, true),
            ("204 No Content\r\n", Body::Length(0), false),
            ("304 Not Modified\r\nContent-Length: 5\r\n", Body::Length(0), false),
            ("200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n", Body::Length(0), true),
        ] {
            let found = parsed(&format!("HTTP/1.1 {fields}\r\n")).unwrap().unwrap();
            assert_eq!((found.body, found.last), (body, last), "{fields:?}");
        }
        let older = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n";
        assert!(parsed(older).unwrap().unwrap().last);
        let to_head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let found = parse(&mut BytesMut::from(to_head), 100, true).unwrap().unwrap();
        assert_eq!((found.body, found.headers.len()), (Body::Length(0), 1));
    }

    #[test]
    fn a_head_is_taken_when_it_is_whole_and_nothing_behind_it() {
        let whole = "HTTP/1.1 200 OK\r\nA: b\r\na: c\r\nContent-Length: 2\r\n\r\n";
        for cut in 0..whole.len() {
            let mut bytes = BytesMut::from(&whole[..cut]);
            assert!(parse(&mut bytes, 100, false).unwrap().is_none());
            bytes.extend_from_slice(&whole.as_bytes()[cut..]);
            bytes.extend_from_slice(b"ok");
            let head = parse(&mut bytes, 100, false).unwrap().unwrap();
            assert_eq!(head.headers.get_all("a").iter().collect::<Vec<_>>(), ["b", "c"]);
            assert_eq!(&bytes[..], b"ok");
        }
    }

    #[test]
    fn what_is_no_head_is_told_at_its_first_wrong_byte() {
        for head in ["SSH-2.0", "HTTP/2", "\r\n", "\x16\x03\x01"] {
            assert!(parsed(head).is_err(), "{head:?}");
        }
        for head in [
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(parsed(head).is_err(), "{head:?}");
        }
        let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(parsed(&many(100)).is_ok() && parsed(&many(101)).is_err());
        assert!(parse(&mut BytesMut::from(&*many(101)), 200, false).is_ok());
    }
}
