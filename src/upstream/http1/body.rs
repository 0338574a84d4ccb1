//! Pure: where a response's body ends, and its bytes without what frames them (RFC 9112 sections 6 and 7).
//!
//! `upstream::http1` runs it over what it has read. It must never take bytes of the next response for this one's, nor
//! keep more of a line or of trailers than their bounds.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::limits::{CHUNK_EXTENSION, TRAILER_FIELDS, TRAILERS};

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// All until the connection ends.
    UntilClose,
    /// Nothing: the connection has ended.
    Closed,
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

/// Bytes that are no body. What is wrong with them is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response is malformed: {0}")]
pub struct Malformed(pub &'static str);

impl Body {
    /// Before the first chunk.
    pub const fn chunked() -> Self {
        Self::Chunked(Chunked::Size)
    }

    /// Whether nothing is to come.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::End) | Self::Closed)
    }

    /// How many bytes are to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(*length),
            Self::Chunked(Chunked::End) | Self::Closed => Some(0),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes the next of `bytes`.
    ///
    /// # Errors
    /// When they can't be read in one way only.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Next, Malformed> {
        match self {
            Self::Length(0) | Self::Closed => Ok(Next::End),
            Self::Length(_) | Self::UntilClose if bytes.is_empty() => Ok(Next::More),
            Self::Length(left) => Ok(Next::Data(taken(bytes, left))),
            Self::UntilClose => Ok(Next::Data(bytes.split().freeze())),
            Self::Chunked(chunked) => chunked.next(bytes),
        }
    }

    /// The connection has ended; whether that is the body's end.
    pub fn close(&mut self) -> bool {
        if matches!(self, Self::UntilClose) {
            *self = Self::Closed;
        }
        self.is_end()
    }
}

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunked {
    /// At a chunk's size.
    Size,
    /// In a chunk, with so many bytes to come.
    Data(u64),
    /// Behind a chunk.
    Gap,
    /// Behind the last one.
    Trailers,
    /// Behind all.
    End,
}

impl Chunked {
    fn next(&mut self, bytes: &mut BytesMut) -> Result<Next, Malformed> {
        loop {
            match self {
                Self::Data(_) if bytes.is_empty() => return Ok(Next::More),
                Self::Data(left) => {
                    let data = taken(bytes, left);
                    if *left == 0 {
                        *self = Self::Gap;
                        // An end that has come already is seen with the last data. What is wrong is told next.
                        while !matches!(self, Self::End) && matches!(self.step(bytes), Ok(true)) {}
                    }
                    return Ok(Next::Data(data));
                }
                Self::End => return Ok(Next::End),
                Self::Size | Self::Gap | Self::Trailers => {
                    if self.step(bytes)? {
                        continue;
                    }
                    let Self::Trailers = self else { return Ok(Next::More) };
                    return self.trailers(bytes);
                }
            }
        }
    }

    /// Goes past what stands between data; whether there was enough of it.
    fn step(&mut self, bytes: &mut BytesMut) -> Result<bool, Malformed> {
        match self {
            Self::Size => {
                let Some(end) = memchr::memchr(b'\n', bytes) else {
                    return bounded(
                        bytes.len() <= usize::from(CHUNK_EXTENSION),
                        "a chunk's line without end",
                    );
                };
                let size = size(&bytes[..=end])?;
                bytes.advance(end + 1);
                *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
            }
            Self::Gap | Self::Trailers => {
                let known = bytes.len().min(2);
                let ends = bytes[..known] == b"\r\n"[..known];
                match self {
                    Self::Gap if !ends => return Err(Malformed("a chunk longer than its size")),
                    _ if !ends || known < 2 => return Ok(false),
                    Self::Gap => *self = Self::Size,
                    _ => *self = Self::End,
                }
                bytes.advance(2);
            }
            Self::Data(_) | Self::End => return Ok(false),
        }
        Ok(true)
    }

    fn trailers(&mut self, bytes: &mut BytesMut) -> Result<Next, Malformed> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return bounded(bytes.len() <= usize::from(TRAILERS), "trailers without end").map(|_| Next::More);
        };
        bounded(end <= usize::from(TRAILERS), "too long trailers")?;
        let block = bytes.split_to(end + 4);
        *self = Self::End;
        let mut fields = [httparse::EMPTY_HEADER; TRAILER_FIELDS as usize];
        let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&block, &mut fields) else {
            return Err(Malformed("trailers that are no fields"));
        };
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) else {
                return Err(Malformed("a trailer that is no field"));
            };
            trailers.append(name, value);
        }
        Ok(Next::Trailers(trailers))
    }
}

/// As many of `bytes` as there are of `left`.
fn taken(bytes: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= length as u64;
    bytes.split_to(length).freeze()
}

/// Not enough yet, unless it is too much.
fn bounded(is: bool, otherwise: &'static str) -> Result<bool, Malformed> {
    if is { Ok(false) } else { Err(Malformed(otherwise)) }
}

/// The size that a chunk's line says: digits, perhaps blanks, perhaps an extension, CRLF.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let line = line.strip_suffix(b"\r\n").ok_or(Malformed("a bare LF behind a chunk's size"))?;
    if line.len() > usize::from(CHUNK_EXTENSION) || line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(Malformed("a chunk's extension"));
    }
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed("a chunk's size"));
    }
    let digits = digits.iter().filter_map(|digit| char::from(*digit).to_digit(16));
    Ok(digits.fold(0, |size, digit| size << 4 | u64::from(digit)))
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
