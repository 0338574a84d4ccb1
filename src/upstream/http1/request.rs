//! Pure: a request as its bytes (RFC 9112 section 3).
//!
//! `upstream::http1` writes them. It must never write what a parser wouldn't read as exactly these fields: `http`'s
//! types hold no line ends, and nothing is passed on raw.

use bytes::{BufMut, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Request};

use crate::headers::length;
use crate::upstream::out::{Framing, Out, put};

/// A request's head, and how its body is framed.
pub fn write<B>(request: &Request<B>) -> (Out, Framing) {
    let headers = request.headers();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut head = BytesMut::with_capacity(fields + target.len() + 33);
    // Of an absolute target whose path is empty only a query is left (RFC 9112 section 3.2.1).
    let slash = if target.starts_with('?') { "/" } else { "" };
    for part in [request.method().as_str(), " ", slash, target, " HTTP/1.1\r\n"] {
        head.put_slice(part.as_bytes());
    }
    // First of all (RFC 9110 section 7.2).
    for value in headers.get_all(HOST) {
        put(&mut head, HOST.as_str(), value.as_bytes());
    }
    for (name, value) in headers.iter().filter(|(name, _)| **name != HOST) {
        put(&mut head, name.as_str(), value.as_bytes());
    }
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
    use http::HeaderValue;

    use super::*;

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
        let (out, framing) = write(&request(&[("a", "1"), ("host", "x"), ("content-length", "5")]));
        assert_eq!(written(&out), b"POST /a?b HTTP/1.1\r\nhost: x\r\na: 1\r\ncontent-length: 5\r\n\r\n");
        assert_eq!(framing, Framing::Length(5));
    }

    #[test]
    fn a_target_begins_with_a_slash() {
        for (uri, line) in
            [("/", "GET / "), ("http://a?b", "GET /?b "), ("http://a", "GET / "), ("*", "GET * ")]
        {
            let (out, _) = write(&Request::get(uri).body(()).unwrap());
            assert!(written(&out).starts_with(line.as_bytes()), "{uri}");
        }
    }
}
