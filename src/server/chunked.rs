//! Where a chunked body ends (RFC 9112 section 7.1), strictly: CRLF only, digits only, bounded extensions and
//! trailers.
//!
//! `server::framing` runs it over a visitor's chunked bodies; hyper decodes them after it. Pure. It must
//! never accept a form that another implementation reads differently.

use crate::config::limits::{CHUNK_DIGITS, CHUNK_EXTENSION, TRAILERS};
use crate::proxy::refusal::Refusal;
use crate::server::extension::Extension;
use crate::server::octets::{is_control, is_token};

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    size: u64,
    digits: u8,
    extension: u16,
    trailer: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    SizeStart,
    Size,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl Chunked {
    /// Before the first chunk's size.
    pub const fn at_start() -> Self {
        Self { state: State::SizeStart, size: 0, digits: 0, extension: 0, trailer: 0 }
    }

    /// How many of `bytes` belong to the body, and whether it ends with them.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let step = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.size -= step as u64;
                at += step;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = self.step(bytes[at]).ok_or(Refusal::ChunkedBody)?;
            at += 1;
            if self.state == State::End {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// The state after `byte`, or nothing where it may not stand here.
    fn step(&mut self, byte: u8) -> Option<State> {
        match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.size_digit(byte)
            }
            (State::Size, b';') => Some(State::Extension(Extension::Begin)),
            (State::Size, b'\r') => Some(State::SizeLf),
            (State::Extension(extension), b'\r') => extension.may_end().then_some(State::SizeLf),
            (State::Extension(extension), _) => {
                self.extension = self.extension.checked_add(1).filter(|bytes| *bytes <= CHUNK_EXTENSION)?;
                extension.after(byte).map(State::Extension)
            }
            (State::SizeLf, b'\n') => Some(if self.size == 0 { State::TrailerStart } else { State::Data }),
            (State::DataCr, b'\r') => Some(State::DataLf),
            (State::DataLf, b'\n') => {
                self.digits = 0;
                Some(State::SizeStart)
            }
            (State::TrailerStart, b'\r') => Some(State::EndLf),
            (State::Trailer, b'\r') => Some(State::TrailerLf),
            (State::TrailerName, b':') => Some(State::Trailer),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                self.trailer(State::TrailerName)
            }
            (State::Trailer, _) if !is_control(byte) => self.trailer(State::Trailer),
            (State::TrailerLf, b'\n') => Some(State::TrailerStart),
            (State::EndLf, b'\n') => Some(State::End),
            _ => None,
        }
    }

    /// One more byte of the trailer section.
    fn trailer(&mut self, state: State) -> Option<State> {
        self.trailer = self.trailer.checked_add(1).filter(|bytes| *bytes <= TRAILERS)?;
        Some(state)
    }

    fn size_digit(&mut self, byte: u8) -> Option<State> {
        self.digits = self.digits.checked_add(1).filter(|digits| *digits <= CHUNK_DIGITS)?;
        let digit = char::from(byte).to_digit(16)?;
        // Below 2^53, as Content-Length: more is an overflow somewhere behind us.
        self.size = Some(self.size << 4 | u64::from(digit)).filter(|size| *size < 1 << 53)?;
        Some(State::Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(body: &[u8]) -> Result<(usize, bool), Refusal> {
        Chunked::at_start().pass(body)
    }

    #[test]
    fn a_body_ends_where_its_last_chunk_says() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;a=b;c\r\nhello\r\n000\r\n\r\n",
            "A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        ] {
            let follows = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(whole(follows.as_bytes()), Ok((body.len(), true)), "{body:?}");
            for cut in 1..body.len() {
                let mut chunked = Chunked::at_start();
                assert_eq!(chunked.pass(&body.as_bytes()[..cut]), Ok((cut, false)), "{body:?} at {cut}");
                assert_eq!(
                    chunked.pass(&body.as_bytes()[cut..]),
                    Ok((body.len() - cut, true)),
                    "{body:?} at {cut}"
                );
            }
        }
    }

    #[test]
    fn ambiguous_chunks_are_refused() {
        let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(5000));
        let long_trailer = format!("0\r\nX: {}\r\n\r\n", "x".repeat(17_000));
        for body in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "-1\r\nhello\r\n0\r\n\r\n",
            "\r\nhello\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5;a\0\r\nhello\r\n0\r\n\r\n",
            "20000000000000\r\nx",
            "fffffffffffffffff\r\nx",
            "0\r\n\n",
            "0\r\nX: 1\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\n: nameless\r\n\r\n",
            "0\r\nnocolon\r\n\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\nX(y): 1\r\n\r\n",
            "5;a=\"b\r\nhello\r\n0\r\n\r\n",
            "5;\r\nhello\r\n0\r\n\r\n",
            "00000000000000005\r\nhello\r\n0\r\n\r\n",
            long_extension.as_str(),
            long_trailer.as_str(),
        ] {
            assert_eq!(whole(body.as_bytes()), Err(Refusal::ChunkedBody), "{body:?}");
        }
    }
}
