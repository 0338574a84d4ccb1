//! Heads of HTTP/1.1: a request's is read, a response's is read and written.
//!
//! `micro` and `icount` call it. It must never wait for more bytes: each head is whole.

use bytes::{Bytes, BytesMut};
use crossfade::config::limits::Limits;
use crossfade::server::framing::{Found, Search};
use crossfade::server::head::{Head, read};
use crossfade::server::http1::response::{Begun, To, begin};
use crossfade::upstream::http1::head as response;
use crossfade::upstream::out::put;
use http::response::Parts;
use http::{Response, Version};

use super::{BROWSER, fields, head};

/// What an app says with a page.
const APP: [(&str, &str); 10] = [
    ("server", "gunicorn"),
    ("date", "Fri, 02 Jan 2026 10:00:00 GMT"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "5120"),
    ("vary", "Accept-Encoding, Cookie"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cache-control", "private, max-age=0, must-revalidate"),
    ("set-cookie", "_session=kx3JvE0q9mB7; Path=/; HttpOnly; SameSite=Lax"),
];

/// A browser's request as it came.
pub(crate) struct Request {
    bytes: Bytes,
    limits: Limits,
}

impl Request {
    /// In bytes that are shared already, as those are that a connection has read.
    pub(crate) fn new() -> Self {
        let bytes = head("GET /basket/items?page=2 HTTP/1.1", &BROWSER);
        Self { bytes: BytesMut::from(&bytes[..]).freeze(), limits: Limits::default() }
    }

    /// Looks for its end, and reads it.
    pub(crate) fn read(&self) -> Head {
        let found = Search::default().look(&self.bytes, &self.limits);
        let Ok(Found::Head(length)) = found else { panic!("a whole head, not {found:?}") };
        read(&self.bytes.slice(..length), &self.limits).expect("a head by the letter")
    }
}

/// An app's response as it came.
pub(crate) struct Answer(BytesMut);

impl Answer {
    /// Without its body.
    pub(crate) fn new() -> Self {
        Self(BytesMut::from(&head("HTTP/1.1 200 OK", &APP)[..]))
    }

    /// Takes the head out of it.
    pub(crate) fn parse(&mut self) -> response::Head {
        let head = response::parse(&mut self.0, 100, false).expect("a head by the letter");
        head.expect("a whole one")
    }
}

/// An app's response on its way to the visitor.
pub(crate) struct Reply(Parts);

impl Reply {
    /// Of a length that is known.
    pub(crate) fn new() -> Self {
        let mut response = Response::new(());
        *response.headers_mut() = fields(&APP);
        Self(response.into_parts().0)
    }

    /// Its head's bytes.
    pub(crate) fn begin(&self) -> Begun {
        let to = To { version: Version::HTTP_11, head: false, closes: false };
        begin(&self.0, Some(5120), to, |out| put(out, "date", b"Fri, 02 Jan 2026 10:00:00 GMT"))
    }
}
