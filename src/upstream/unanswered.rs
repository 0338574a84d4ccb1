//! Why there is no answer, or not all of one, in either version of HTTP.
//!
//! `upstream::pool` returns it; `proxy::forward` decides by it what becomes of the request.

use http::Request;

use crate::upstream::http1::Fault;
use crate::upstream::http2;
use crate::upstream::upload::Upload;

/// A request without an answer.
#[derive(Debug)]
pub struct Unanswered {
    /// The request, where it is whole: it has no body, or nothing of it was sent.
    pub request: Option<Request<Upload>>,
    /// Whether nothing of it was sent.
    pub unsent: bool,
    /// Why.
    pub cause: Cause,
}

/// What was found wrong.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// On a connection of HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] Fault),
    /// On a stream of HTTP/2, or its connection.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl Cause {
    /// Whether the backend has said that it did nothing with the request.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(error) => http2::is_refused(error),
        }
    }
}
