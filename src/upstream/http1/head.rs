//! Pure: a response's head, and which body it says follows (RFC 9112 sections 4 to 6).
//!
//! `upstream::http1` calls it with what it has read. It must never guess: what can be read in two ways is malformed.

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version};

use crate::headers::field::{self, Lines};
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
    let (status, version, headers) = read(&head, fields)?;
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
fn read(head: &Bytes, fields: usize) -> Result<(StatusCode, Version, HeaderMap), Malformed> {
    let mut lines = Lines::of(head);
    let (status, version) = lines.next().and_then(status_line).ok_or(Malformed("a head that is none"))?;
    let mut left = memchr::memchr_iter(b'\n', lines.rest()).count().saturating_sub(1);
    if left > fields {
        return Err(Malformed("more fields than may be"));
    }
    let mut headers = HeaderMap::with_capacity(left + OURS);
    for line in lines {
        if left == 0 {
            break;
        }
        left -= 1;
        let (_, name, value) = field::read(head, line).ok_or(Malformed("a field that is none"))?;
        headers.append(name, value);
    }
    Ok((status, version, headers))
}

/// RFC 9112 section 4. Without a reason the space before it may be missing, as hyper and others take it.
fn status_line(line: &[u8]) -> Option<(StatusCode, Version)> {
    let (version, rest) = match line.strip_prefix(BEGIN)? {
        [b'1', b' ', rest @ ..] => (Version::HTTP_11, rest),
        [b'0', b' ', rest @ ..] => (Version::HTTP_10, rest),
        _ => return None,
    };
    let (status, reason) = rest.split_at_checked(3)?;
    let legible = reason.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    let apart = reason.first().is_none_or(|first| *first == b' ');
    Some((StatusCode::from_bytes(status).ok()?, version)).filter(|_| legible && apart)
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
    use http::{HeaderName, HeaderValue};
    use proptest::collection;
    use proptest::prelude::*;

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
    fn a_head_is_read_as_it_stands() {
        let text = "HTTP/1.1 404 N\u{f6}t \tFound\nA:\nb: \t c d\t \r\nX-Caf\u{e9}: \u{e9}\r\n\r\n";
        assert!(parsed(text).is_err(), "a name is of ASCII");
        let head = parsed(&text.replace("Caf\u{e9}", "Cafe")).unwrap().unwrap();
        assert_eq!((head.status, head.version), (StatusCode::NOT_FOUND, Version::HTTP_11));
        let fields: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("a", &b""[..]), ("b", b"c d"), ("x-cafe", "\u{e9}".as_bytes())]);
        assert!(parsed("HTTP/1.0 200 \n\n").unwrap().unwrap().headers.is_empty());
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
            "HTTP/1.1 200OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1\t200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.11 200 OK\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1 200 O\x7fK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \x0cb\r\n\r\n",
            "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA(: b\r\n\r\n",
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

    /// The parser that hyper uses, and the types.
    fn by_another(text: &[u8]) -> Option<(u16, Version, HeaderMap)> {
        let mut room = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut room);
        let httparse::Status::Complete(length) = response.parse(text).ok()? else { return None };
        let mut headers = HeaderMap::new();
        for field in response.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
        let status = StatusCode::from_u16(response.code?).ok()?.as_u16();
        let version = if response.version? == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        (length == text.len()).then_some((status, version, headers))
    }

    proptest! {
        /// A good head with some bytes put in, or in place of others.
        #[test]
        fn a_head_is_understood_as_another_parser_does(
            status in "HTTP/1\\.[01] [1-9][0-9]{2}( [ -~]{0,4})?",
            fields in collection::vec("[A-Za-z0-9_-]{1,3}:[ \\t]?[ -~]{0,5}[ \\t]?", 0..4),
            end in "\r?\n",
            wrong in collection::vec(
                (0..60_usize, any::<bool>(), "[\\r\\n\\t :\\x00\\x0b\\x0c\\x7f\u{e9}(HTP/1.0a]"),
                0..3,
            ),
        ) {
            let lines = std::iter::once(&status).chain(&fields).map(|line| format!("{line}{end}"));
            let mut text = (lines.collect::<String>() + &end).into_bytes();
            for (at, instead, byte) in wrong {
                let at = at % text.len();
                text.splice(at..at + usize::from(instead), byte.bytes());
            }
            // How it begins, and where it ends, is seen before it is read.
            if !(text.starts_with(BEGIN) && super::end(&text) == Some(text.len())) {
                return Ok(());
            }
            let ours = read(&Bytes::copy_from_slice(&text), 100).ok();
            let ours = ours.map(|(status, version, headers)| (status.as_u16(), version, headers));
            prop_assert_eq!(ours, by_another(&text), "{}", text.escape_ascii());
        }
    }
}
