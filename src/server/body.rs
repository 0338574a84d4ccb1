//! Pure: where a request's body ends, and its bytes without what frames them (RFC 9112 sections 6 and 7).
//!
//! `server::http1` runs it over what it has read. It must never take bytes of the next request for this one's.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::proxy::refusal::Refusal;
use crate::server::chunked::Chunked;
use crate::server::head::Framing;

/// What is still to come of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Box<Chunked>),
}

/// What stands next in what was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Bytes of the body.
    Data(Bytes),
    /// The fields behind it; nothing follows them.
    Trailers(HeaderMap),
    /// Its end.
    End,
    /// More has to be read first.
    More,
}

impl Body {
    /// What follows a head that says so.
    pub fn of(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::new(Chunked::at_start())),
        }
    }

    /// Takes the next of `bytes`.
    ///
    /// # Errors
    /// When a byte stands where it may not.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Next, Refusal> {
        match self {
            Self::Length(0) => Ok(Next::End),
            Self::Length(_) if bytes.is_empty() => Ok(Next::More),
            Self::Length(left) => Ok(Next::Data(taken(bytes, left))),
            Self::Chunked(chunked) => chunked.next(bytes),
        }
    }

    /// Whether all of it has been taken.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_end(),
        }
    }

    /// How many bytes are to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(chunked) => chunked.is_end().then_some(0),
        }
    }
}

/// As many of `bytes` as there are of `left`.
pub(super) fn taken(bytes: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= length as u64;
    bytes.split_to(length).freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_known_length_ends_with_its_last_byte() {
        let mut body = Body::of(Framing::Length(5));
        let mut bytes = BytesMut::from("hel");
        assert_eq!(body.next(&mut bytes), Ok(Next::Data(Bytes::from_static(b"hel"))));
        assert_eq!((body.next(&mut bytes), body.left(), body.is_end()), (Ok(Next::More), Some(2), false));
        bytes.extend_from_slice(b"loGET");
        assert_eq!(body.next(&mut bytes), Ok(Next::Data(Bytes::from_static(b"lo"))));
        assert_eq!((body.next(&mut bytes), body.is_end(), &bytes[..]), (Ok(Next::End), true, &b"GET"[..]));
    }
}
