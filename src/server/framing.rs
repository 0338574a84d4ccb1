//! Where a request's head and body end, by the letter of RFC 9112: the strict half of reading HTTP/1.1.
//!
//! `server::guard` runs every byte from a visitor past it before hyper sees one, since hyper accepts what RFC
//! 9112 lets a recipient accept (bare LF, several spaces) and smuggling is made of. A whole head is for
//! `server::head` to judge, a chunked body for `server::chunked`. Pure: bytes in, verdicts out. It must never allocate,
//! never look at a byte twice without need, and never let the verdict depend on how the bytes are cut.

use crate::config::limits::Limits;
use crate::proxy::refusal::Refusal;
use crate::server::chunked::Chunked;
use crate::server::head::{Framing, examine, longest_line};
use crate::server::octets::is_token;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framer {
    /// Before or within a head; so many of its bytes have been searched for its end.
    Head {
        /// Bytes already searched.
        searched: usize,
    },
    /// Within a body of which so many bytes are left.
    Length(u64),
    /// Within a chunked body.
    Chunked(Chunked),
}

/// What the bytes at hand amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// So many bytes may pass on; at least one, all of one message.
    Pass(usize),
    /// So many bytes are to be dropped: empty lines before a request line (section 2.2).
    Skip(usize),
    /// A head that isn't whole yet.
    More,
}

impl Framer {
    /// At the start of a connection.
    pub const fn at_start() -> Self {
        Self::Head { searched: 0 }
    }

    /// Whether a message begins here: nothing of a head or body is pending.
    pub fn between_messages(&self) -> bool {
        matches!(self, Self::Head { searched: 0 })
    }

    /// Looks at `bytes`, all that is at hand since the last passage, never empty.
    pub fn pass(&mut self, bytes: &[u8], limits: &Limits) -> Result<Passage, Refusal> {
        match self {
            Self::Head { searched } => {
                let empty_lines = leading_empty_lines(bytes);
                if empty_lines > 0 {
                    *searched = 0;
                    return Ok(Passage::Skip(empty_lines));
                }
                let Some(end) = find_head_end(bytes, searched)? else {
                    return may_become_a_head(bytes, limits).map(|()| Passage::More);
                };
                *self = match examine(&bytes[..end], limits)? {
                    Framing::Length(0) => Self::at_start(),
                    Framing::Length(length) => Self::Length(length),
                    Framing::Chunked => Self::Chunked(Chunked::at_start()),
                };
                Ok(Passage::Pass(end))
            }
            Self::Length(left) => {
                let passing = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= passing as u64;
                if *left == 0 {
                    *self = Self::at_start();
                }
                Ok(Passage::Pass(passing))
            }
            Self::Chunked(chunked) => {
                let (passing, ended) = chunked.pass(bytes)?;
                if ended {
                    *self = Self::at_start();
                }
                Ok(Passage::Pass(passing))
            }
        }
    }
}

/// So many bytes of empty lines stand before the request line. A lone CR may yet become one.
fn leading_empty_lines(bytes: &[u8]) -> usize {
    let pairs = bytes.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count();
    pairs * 2
}

/// The length of the head up to and with its empty line, once it is there. Each LF is checked on the way, so
/// that a bare one is refused at once, not when the visitor gets round to a proper end.
fn find_head_end(bytes: &[u8], searched: &mut usize) -> Result<Option<usize>, Refusal> {
    for offset in memchr::memchr_iter(b'\n', &bytes[*searched..]) {
        let at = *searched + offset;
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(Refusal::BareLf);
        }
        if at >= 3 && bytes[at - 2] == b'\n' {
            return Ok(Some(at + 1));
        }
    }
    *searched = bytes.len();
    Ok(None)
}

/// A head still growing is refused as soon as it can't become one: what isn't HTTP at all, such as TLS sent to
/// a plain port, by its first byte, and one that is too large by what is too large about it.
fn may_become_a_head(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    if !bytes.first().is_none_or(|&first| first == b'\r' || is_token(first)) {
        return Err(Refusal::RequestLine);
    }
    let longest = longest_line(limits);
    if bytes.len() > longest && memchr::memchr(b'\n', &bytes[..longest]).is_none() {
        return Err(Refusal::TargetTooLong);
    }
    if bytes.len() > limits.head_size { Err(Refusal::HeadTooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_without_end_is_refused_before_it_has_one() {
        let limits = Limits::default();
        let mut framer = Framer::at_start();
        let endless = "a".repeat(longest_line(&limits) + 1);
        assert_eq!(framer.pass(endless.as_bytes(), &limits), Err(Refusal::TargetTooLong));
        let mut framer = Framer::at_start();
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(limits.head_size));
        assert_eq!(framer.pass(endless.as_bytes(), &limits), Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn a_bare_lf_is_refused_at_once() {
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\n",
        ] {
            let passage = Framer::at_start().pass(head.as_bytes(), &Limits::default());
            assert_eq!(passage, Err(Refusal::BareLf), "{head:?}");
        }
    }

    /// A method of 9000 letters was refused in pieces and passed on whole; a NUL before it had two names.
    #[test]
    fn a_verdict_does_not_depend_on_how_the_bytes_are_cut() {
        let long = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "G".repeat(9000));
        for head in ["\0GET / HTTP/1.1\r\n\r\n", " \0 / HTTP/1.1\r\n\r\n", "\x16\x03\x01\r\n\r\n", &long] {
            let (limits, mut framer) = (Limits::default(), Framer::at_start());
            let whole = Framer::at_start().pass(head.as_bytes(), &limits);
            let cut = (1..=head.len()).find_map(|end| framer.pass(&head.as_bytes()[..end], &limits).err());
            assert!(whole.is_err() && whole.err() == cut, "{:?}: {whole:?}, {cut:?}", &head[..12]);
        }
    }

    /// A browser that spoke TLS to the plain port waited ten seconds for its error.
    #[test]
    fn what_is_no_http_at_all_is_refused_by_its_first_byte() {
        for (begin, verdict) in [
            (&b"\x16\x03\x01\x02\x00"[..], Err(Refusal::RequestLine)),
            (b"\x00", Err(Refusal::RequestLine)),
            (b" ", Err(Refusal::RequestLine)),
            (b"\r", Ok(Passage::More)),
            (b"G", Ok(Passage::More)),
        ] {
            assert_eq!(Framer::at_start().pass(begin, &Limits::default()), verdict, "{begin:?}");
        }
    }

    #[test]
    fn messages_pass_one_at_a_time_however_they_are_cut() {
        let stream = b"\r\n\r\nPOST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n";
        for step in 1..stream.len() {
            let (mut framer, mut pending, mut passed) = (Framer::at_start(), Vec::new(), Vec::new());
            for piece in stream.chunks(step) {
                pending.extend_from_slice(piece);
                while !pending.is_empty() {
                    match framer.pass(&pending, &Limits::default()).expect("well formed") {
                        Passage::Pass(length) => passed.extend(pending.drain(..length)),
                        Passage::Skip(length) => drop(pending.drain(..length)),
                        Passage::More => break,
                    }
                }
            }
            assert!(framer.between_messages() && pending.is_empty(), "step {step}");
            assert_eq!(passed, &stream[4..], "step {step}");
        }
    }
}
