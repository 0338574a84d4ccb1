//! Pure: a request as its bytes (RFC 9112 section 3).
//!
//! `upstream::http1` writes them. It must never write what a parser wouldn't read as exactly these fields: `http`'s
//! types hold no line ends, and nothing is passed on raw.

use bytes::{BufMut, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request};

use crate::headers::length;
use crate::headers::outgoing::Ours;
use crate::upstream::out::{Framing, Out, put};

/// Bytes of a head besides the visitor's own, mostly: the line, and what is ours.
const ROOM: usize = 384;

/// What a head says besides its request's fields.
#[derive(Debug, Clone, Copy)]
pub struct Besides<'a> {
    /// Its `Host`, whatever the request's own says.
    pub host: &'a HeaderValue,
    /// The fields that are ours, where they aren't among the request's.
    pub ours: Option<&'a Ours>,
}

/// A request's head, and how its body is framed.
pub fn write<B>(request: &Request<B>, besides: Besides<'_>) -> (Out, Framing) {
    let Besides { host, ours } = besides;
    let headers = request.headers();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut head = BytesMut::with_capacity(fields + target.len() + host.len() + ROOM);
    // Of an absolute target whose path is empty only a query is left (RFC 9112 section 3.2.1).
    let slash = if target.starts_with('?') { "/" } else { "" };
    for part in [request.method().as_str(), " ", slash, target, " HTTP/1.1\r\n"] {
        head.put_slice(part.as_bytes());
    }
    // First of all (RFC 9110 section 7.2).
    put(&mut head, HOST.as_str(), host.as_bytes());
    for (name, value) in headers.iter().filter(|(name, _)| **name != HOST) {
        put(&mut head, name.as_str(), value.as_bytes());
    }
    ours.iter().for_each(|ours| ours.each(|name, value| put(&mut head, name.as_str(), value)));
    head.put_slice(b"\r\n");
    (head.into(), framing(headers))
}

fn framing(headers: &HeaderMap) -> Framing {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Framing::Chunked;
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| length::of(value.as_bytes()));
    Framing::Length(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::headers::origin::{Origin, Scheme};
    use crate::headers::outgoing::{self, Outgoing};

    fn request(fields: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::builder().method("POST").uri("/a?b").body(()).unwrap();
        let fields =
            fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        request.headers_mut().extend(fields.collect::<HeaderMap>());
        request
    }

    fn written(out: &Out) -> Vec<u8> {
        out.slices().iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_head_begins_with_its_host() {
        let request = request(&[("a", "1"), ("host", "x"), ("content-length", "5")]);
        let host = &HeaderValue::from_static("here");
        let (out, framing) = write(&request, Besides { host, ours: None });
        let fields = "host: here\r\na: 1\r\ncontent-length: 5\r\n";
        assert_eq!(written(&out), format!("POST /a?b HTTP/1.1\r\n{fields}\r\n").as_bytes());
        assert_eq!(framing, Framing::Length(5));
        let mut outgoing = HeaderMap::new();
        let ours = outgoing::rewrite(
            &mut outgoing,
            &Outgoing {
                origin: &Origin {
                    client: [192, 0, 2, 1].into(),
                    scheme: Scheme::Https,
                    host: HeaderValue::from_static("www.example.com"),
                    port: 443,
                    prefix: None,
                },
                request_id: &HeaderValue::from_static("id"),
                now_ms: 7,
                version: Version::HTTP_11,
                client: &HeaderValue::from_static("192.0.2.1"),
            },
        );
        let (out, _) = write(&request, Besides { host, ours: Some(&ours) });
        let said = "x-forwarded-for: 192.0.2.1\r\nx-real-ip: 192.0.2.1\r\nx-forwarded-proto: https\r\n\
                    x-forwarded-host: www.example.com\r\nx-forwarded-port: 443\r\nx-request-id: id\r\n\
                    x-request-start: t=7\r\nvia: 1.1 crossfade\r\n";
        assert_eq!(written(&out), format!("POST /a?b HTTP/1.1\r\n{fields}{said}\r\n").as_bytes());
    }

    #[test]
    fn a_target_begins_with_a_slash() {
        for (uri, line) in
            [("/", "GET / "), ("http://a?b", "GET /?b "), ("http://a", "GET / "), ("*", "GET * ")]
        {
            let besides = Besides { host: &HeaderValue::from_static("here"), ours: None };
            let (out, _) = write(&Request::get(uri).body(()).unwrap(), besides);
            assert!(written(&out).starts_with(line.as_bytes()), "{uri}");
        }
    }
}
