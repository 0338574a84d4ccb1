//! Pure: a visitor's chunked body without what frames it (RFC 9112 section 7.1), strictly: CRLF only, digits only,
//! bounded extensions and trailers.
//!
//! `server::body` reads by it. It must never accept a form that another implementation reads differently.

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::limits::{CHUNK_DIGITS, CHUNK_EXTENSION, TRAILER_FIELDS, TRAILERS};
use crate::proxy::refusal::Refusal;
use crate::server::body::{Next, taken};
use crate::server::extension::Extension;
use crate::server::octets::{is_control, is_token};

/// Where in a chunked body the next byte stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    size: u64,
    digits: u8,
    extension: u16,
    /// The trailer section, as far as it has come, and its lines.
    trailers: Vec<u8>,
    lines: u8,
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
        Self { state: State::SizeStart, size: 0, digits: 0, extension: 0, trailers: Vec::new(), lines: 0 }
    }

    /// Whether all of it has been taken.
    pub fn is_end(&self) -> bool {
        self.state == State::End && self.trailers.is_empty()
    }

    /// Takes the next of `bytes`.
    ///
    /// # Errors
    /// When a byte stands where it may not.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Next, Refusal> {
        self.go_past_framing(bytes)?;
        match self.state {
            State::End if self.trailers.is_empty() => Ok(Next::End),
            State::End => Ok(Next::Trailers(fields(&std::mem::take(&mut self.trailers)))),
            State::Data if !bytes.is_empty() => {
                let data = taken(bytes, &mut self.size);
                if self.size == 0 {
                    self.state = State::DataCr;
                    // An end that has come already is seen with the last data. What is wrong is told next.
                    let _ = self.go_past_framing(bytes);
                }
                Ok(Next::Data(data))
            }
            _ => Ok(Next::More),
        }
    }

    /// Takes what stands before the next data, or before the end.
    fn go_past_framing(&mut self, bytes: &mut BytesMut) -> Result<(), Refusal> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at)
            && !matches!(self.state, State::Data | State::End)
        {
            let Some(state) = self.step(byte) else {
                bytes.advance(at);
                return Err(Refusal::ChunkedBody);
            };
            self.state = state;
            at += 1;
        }
        bytes.advance(at);
        Ok(())
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
            (State::TrailerName, b':') => self.trailer(byte, State::Trailer),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                self.trailer(byte, State::TrailerName)
            }
            (State::Trailer, _) if !is_control(byte) => self.trailer(byte, State::Trailer),
            (State::TrailerLf, b'\n') => {
                self.lines = self.lines.checked_add(1).filter(|lines| *lines <= TRAILER_FIELDS)?;
                self.trailer(byte, State::TrailerStart)
            }
            (State::EndLf, b'\n') => Some(State::End),
            _ => None,
        }
    }

    /// One more byte of the trailer section.
    fn trailer(&mut self, byte: u8, state: State) -> Option<State> {
        if self.trailers.len() >= usize::from(TRAILERS) {
            return None;
        }
        self.trailers.push(byte);
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

/// The fields of a trailer section whose every byte stands where it may: a line each.
fn fields(trailers: &[u8]) -> HeaderMap {
    let lines = trailers.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name, value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a body that comes cut at these places: data, trailers, and what is left behind it.
    fn read(body: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Refusal> {
        let (mut chunked, mut bytes) = (Chunked::at_start(), BytesMut::new());
        let (mut data, mut trailers, mut ended) = (Vec::new(), HeaderMap::new(), false);
        let mut from = 0;
        for &to in cuts.iter().chain([&body.len()]) {
            bytes.extend_from_slice(&body[from..to]);
            from = to;
            while !ended {
                match chunked.next(&mut bytes)? {
                    Next::Data(more) => data.extend_from_slice(&more),
                    Next::Trailers(fields) => trailers = fields,
                    Next::End => ended = true,
                    Next::More => break,
                }
            }
        }
        assert_eq!(ended, chunked.is_end());
        if ended { Ok((data, trailers, bytes.to_vec())) } else { Err(Refusal::BodyBroken) }
    }

    #[test]
    fn a_body_ends_where_its_last_chunk_says() {
        for (body, data, trailers) in [
            ("0\r\n\r\n", "", 0),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", 0),
            ("5;a=b;c\r\nhello\r\n000\r\n\r\n", "hello", 0),
            ("A\r\n0123456789\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nY:2 \r\ny:3\r\n\r\n", "0123456789x", 3),
        ] {
            let follows = format!("{body}GET / HTTP/1.1\r\n");
            for cut in 0..body.len() {
                let (found, fields, left) = read(follows.as_bytes(), &[cut]).unwrap();
                assert_eq!(found, data.as_bytes(), "{body:?} at {cut}");
                assert_eq!(
                    (fields.len(), &left[..]),
                    (trailers, &b"GET / HTTP/1.1\r\n"[..]),
                    "{body:?} at {cut}"
                );
                let values = fields.get_all("y").iter().collect::<Vec<_>>();
                assert_eq!(values, if trailers == 0 { vec![] } else { vec!["2", "3"] });
            }
        }
    }

    #[test]
    fn an_end_that_has_come_is_seen_with_the_last_data() {
        let mut chunked = Chunked::at_start();
        let mut bytes = BytesMut::from("1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
        assert!(chunked.next(&mut bytes).is_ok() && !chunked.is_end());
        assert!(chunked.next(&mut bytes).is_ok() && chunked.is_end());
    }

    #[test]
    fn ambiguous_chunks_are_refused() {
        let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(5000));
        let many_trailers = format!("0\r\n{}\r\n", "a:\r\n".repeat(65));
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
            many_trailers.as_str(),
            long_trailer.as_str(),
        ] {
            assert_eq!(read(body.as_bytes(), &[]), Err(Refusal::ChunkedBody), "{body:?}");
        }
    }
}
