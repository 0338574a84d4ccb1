//! Pure: what waits to be written on a connection of HTTP/1.1, and the framing of a body (RFC 9112 sections 6 and 7).
//!
//! `upstream::http1` writes requests with it, `server::http1` responses. It must never write a body that is longer or
//! shorter than its head says.

use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are to come.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Not at all: it ends with the connection, as a response to HTTP/1.0 may.
    UntilClose,
}

/// Data up to here is copied behind what frames it, which costs less than a further slice to write.
const COPIED: usize = 1024;
/// … and up to here where more of the body is to come, which costs less than a further write.
const COPIED_BEFORE_MORE: usize = 4 * 1024;
/// Bytes that wait to be written before no more of a body is asked for.
const ENOUGH: usize = 8 * 1024;

/// What waits to be written, in this order.
#[derive(Debug, Default)]
pub struct Out {
    bytes: BytesMut,
    data: Bytes,
    after: BytesMut,
}

impl Out {
    /// Puts `bytes` behind it as they are.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.end().put_slice(bytes);
    }

    /// Whether more of a body may be put behind it.
    pub fn takes_more(&self) -> bool {
        self.data.is_empty() && self.bytes.len() < ENOUGH
    }

    /// Whether all of it is written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.data.is_empty() && self.after.is_empty()
    }

    /// All of it, where that is one slice: what nearly every request is.
    pub fn whole(&self) -> Option<&[u8]> {
        (self.data.is_empty() && self.after.is_empty()).then_some(&self.bytes[..])
    }

    /// What is to be written next.
    pub fn slices(&self) -> [IoSlice<'_>; 3] {
        [IoSlice::new(&self.bytes), IoSlice::new(&self.data), IoSlice::new(&self.after)]
    }

    /// So many bytes of it are written.
    pub fn advance(&mut self, mut written: usize) {
        let parts: [&mut dyn Buf; 3] = [&mut self.bytes, &mut self.data, &mut self.after];
        for part in parts {
            let here = written.min(part.remaining());
            part.advance(here);
            written -= here;
        }
    }

    /// Where the next bytes go.
    fn end(&mut self) -> &mut BytesMut {
        if self.data.is_empty() { &mut self.bytes } else { &mut self.after }
    }

    fn put(&mut self, data: Bytes, copied: usize) {
        if data.len() > copied && self.data.is_empty() {
            self.data = data;
        } else {
            self.end().put_slice(&data);
        }
    }
}

impl From<BytesMut> for Out {
    /// With a head.
    fn from(head: BytesMut) -> Self {
        Self { bytes: head, ..Self::default() }
    }
}

impl Framing {
    /// Puts `data` behind `out`, with what frames it.
    ///
    /// # Errors
    /// More than was said to come; nothing is put then.
    pub fn data(&mut self, out: &mut Out, data: Bytes) -> Result<(), Unlike> {
        match self {
            Self::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Unlike)?;
                out.put(data, if *left > 0 { COPIED_BEFORE_MORE } else { COPIED });
            }
            // An empty chunk would be the last.
            Self::Chunked if data.is_empty() => {}
            Self::Chunked => {
                put_size(out.end(), data.len());
                out.put(data, COPIED);
                out.end().put_slice(b"\r\n");
            }
            Self::UntilClose => out.put(data, COPIED),
        }
        Ok(())
    }

    /// Puts the body's end behind `out`, with its `trailers`.
    ///
    /// # Errors
    /// Less came than was said to.
    pub fn end(self, out: &mut Out, trailers: Option<&HeaderMap>) -> Result<(), Unlike> {
        match self {
            Self::Length(0) | Self::UntilClose => {}
            Self::Length(_) => return Err(Unlike),
            Self::Chunked => {
                out.end().put_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    put(out.end(), name.as_str(), value.as_bytes());
                }
                out.end().put_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

/// A body isn't as long as its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body isn't as long as its head says")]
pub struct Unlike;

/// Puts a field's line behind `out`.
pub fn put(out: &mut BytesMut, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.put_slice(part);
    }
}

fn put_size(out: &mut BytesMut, size: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.put_u8(HEX[size >> (digit * 4) & 0xf]);
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn written(out: &Out) -> Vec<u8> {
        out.slices().iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn what_comes_of_a_body_is_framed_as_its_head_says() {
        let (mut out, mut framing) = (Out::default(), Framing::Chunked);
        let sum: HeaderMap =
            [(http::HeaderName::from_static("sum"), HeaderValue::from_static("1"))].into_iter().collect();
        for data in ["hello", "", &"x".repeat(0x1234)] {
            assert!(out.takes_more());
            framing.data(&mut out, Bytes::copy_from_slice(data.as_bytes())).unwrap();
        }
        assert!(!out.takes_more(), "large data is written before more is asked for");
        framing.end(&mut out, Some(&sum)).unwrap();
        let whole = format!("5\r\nhello\r\n1234\r\n{}\r\n0\r\nsum: 1\r\n\r\n", "x".repeat(0x1234));
        assert_eq!(written(&out), whole.as_bytes());
        for step in [1, 9, 4000, 660, 21] {
            let before = written(&out);
            out.advance(step);
            assert_eq!(written(&out), before[step..]);
        }
        assert!(out.is_empty());
    }

    #[test]
    fn a_body_that_is_not_as_long_as_it_says_is_found_out() {
        let (mut out, mut framing) = (Out::default(), Framing::Length(5));
        assert_eq!(framing.data(&mut out, Bytes::from_static(b"hel")), Ok(()));
        assert_eq!(framing.end(&mut Out::default(), None), Err(Unlike));
        assert_eq!(framing.data(&mut out, Bytes::from_static(b"lo!")), Err(Unlike));
        assert_eq!(framing.data(&mut out, Bytes::from_static(b"lo")), Ok(()));
        assert_eq!((framing.end(&mut out, None), &written(&out)[..]), (Ok(()), &b"hello"[..]));
    }
}
