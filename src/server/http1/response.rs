//! Pure: a response's head as its bytes, and how its body is framed (RFC 9112 sections 4, 6 and 9).
//!
//! `server::http1` writes them. It must never write a body that the visitor can't find the end of, nor one that its
//! status or method doesn't have.

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};

use crate::headers::length;
use crate::upstream::out::{Framing, put};

/// What a response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct To {
    /// The request's version.
    pub version: Version,
    /// Whether it was one of HEAD.
    pub head: bool,
    /// Whether the connection has to end with the response, or the visitor wants it to.
    pub closes: bool,
}

/// A response's beginning.
#[derive(Debug)]
pub struct Begun {
    /// Its head.
    pub head: BytesMut,
    /// How its body follows; nothing where there is none to write, whatever there would be.
    pub framing: Option<Framing>,
    /// Whether the connection ends with it.
    pub last: bool,
}

/// The head of the response `parts` to such a request. `left` is the length of its body where that is known, `date` the
/// time of now as HTTP says it, for a response that doesn't.
pub fn begin(parts: &Parts, left: Option<u64>, to: To, date: impl FnOnce(&mut BytesMut)) -> Begun {
    let headers = &parts.headers;
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut head = BytesMut::with_capacity(fields + 160);
    let old = to.version == Version::HTTP_10;
    head.put_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    head.put_slice(parts.status.as_str().as_bytes());
    head.put_u8(b' ');
    head.put_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    head.put_slice(b"\r\n");
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        fields_of(headers, &mut head, |_| true);
        head.put_slice(b"\r\n");
        return Begun { head, framing: None, last: true };
    }
    let framing = framing(parts, left, to);
    let last = to.closes || framing == Some(Framing::UntilClose) || closes(headers);
    let ours = framing.is_some() || parts.status == StatusCode::NO_CONTENT;
    fields_of(headers, &mut head, |name| {
        *name != CONNECTION && *name != TRANSFER_ENCODING && !(ours && *name == CONTENT_LENGTH)
    });
    match framing {
        Some(Framing::Length(length)) => {
            put(&mut head, CONTENT_LENGTH.as_str(), itoa::Buffer::new().format(length).as_bytes());
        }
        Some(Framing::Chunked) => put(&mut head, TRANSFER_ENCODING.as_str(), b"chunked"),
        Some(Framing::UntilClose) | None => {}
    }
    match (last, old) {
        (true, _) => put(&mut head, CONNECTION.as_str(), b"close"),
        (false, true) => put(&mut head, CONNECTION.as_str(), b"keep-alive"),
        (false, false) => {}
    }
    if !headers.contains_key(DATE) {
        date(&mut head);
    }
    head.put_slice(b"\r\n");
    Begun { head, framing, last }
}

fn fields_of(headers: &HeaderMap, head: &mut BytesMut, goes: impl Fn(&http::HeaderName) -> bool) {
    for (name, value) in headers.iter().filter(|(name, _)| goes(name)) {
        put(head, name.as_str(), value.as_bytes());
    }
}

/// RFC 9112 section 6.3.
fn framing(parts: &Parts, left: Option<u64>, to: To) -> Option<Framing> {
    if to.head || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return None;
    }
    let said = || parts.headers.get(CONTENT_LENGTH).and_then(|value| length::of(value.as_bytes()));
    Some(match left.or_else(said) {
        Some(length) => Framing::Length(length),
        None if to.version == Version::HTTP_10 => Framing::UntilClose,
        None => Framing::Chunked,
    })
}

fn closes(headers: &HeaderMap) -> bool {
    headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    const TO: To = To { version: Version::HTTP_11, head: false, closes: false };

    fn begun(
        status: u16,
        fields: &[(&str, &str)],
        left: Option<u64>,
        to: To,
    ) -> (String, Option<Framing>, bool) {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        let begun = begin(&parts, left, to, |head| put(head, "date", b"now"));
        (String::from_utf8(begun.head.to_vec()).unwrap(), begun.framing, begun.last)
    }

    #[test]
    fn a_body_is_framed_as_its_length_is_known() {
        let old = To { version: Version::HTTP_10, ..TO };
        for (left, to, end, framing, last) in [
            (Some(5), TO, "content-length: 5\r\n", Framing::Length(5), false),
            (Some(0), TO, "content-length: 0\r\n", Framing::Length(0), false),
            (None, TO, "transfer-encoding: chunked\r\n", Framing::Chunked, false),
            (None, old, "connection: close\r\n", Framing::UntilClose, true),
            (Some(5), old, "content-length: 5\r\nconnection: keep-alive\r\n", Framing::Length(5), false),
            (
                Some(5),
                To { closes: true, ..TO },
                "content-length: 5\r\nconnection: close\r\n",
                Framing::Length(5),
                true,
            ),
            (
                Some(5),
                To { closes: true, ..old },
                "content-length: 5\r\nconnection: close\r\n",
                Framing::Length(5),
                true,
            ),
        ] {
            let (head, found, ends) = begun(200, &[("a", "1")], left, to);
            let version = if to.version == Version::HTTP_10 { "1.0" } else { "1.1" };
            assert_eq!(head, format!("HTTP/{version} 200 OK\r\na: 1\r\n{end}date: now\r\n\r\n"));
            assert_eq!((found, ends), (Some(framing), last), "{head:?}");
        }
    }

    #[test]
    fn what_has_no_body_has_no_framing_of_one() {
        let head = To { head: true, ..TO };
        for (status, to, fields) in
            [(200, head, "content-length: 7\r\n"), (304, TO, "content-length: 7\r\n"), (204, TO, "")]
        {
            let (text, framing, _) = begun(status, &[("content-length", "7"), ("date", "then")], Some(0), to);
            assert!(
                text.ends_with(&format!("\r\n{fields}date: then\r\n\r\n")) && framing.is_none(),
                "{text:?}"
            );
            assert_eq!(text.matches("content-length").count(), fields.matches("content-length").count());
        }
    }

    #[test]
    fn a_response_that_says_that_it_is_the_last_is() {
        let (head, _, last) = begun(400, &[("connection", "close")], Some(0), TO);
        assert!(last && head.contains("\r\nconnection: close\r\n"));
        assert_eq!(head.matches("connection").count(), 1);
    }

    #[test]
    fn a_switch_is_written_as_it_is() {
        let fields = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let (head, framing, _) = begun(101, &fields, None, TO);
        let expected =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        assert_eq!((head.as_str(), framing), (expected, None));
    }
}
