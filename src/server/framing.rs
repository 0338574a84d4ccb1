//! Pure: where a request's head ends, by the letter of RFC 9112: the first half of reading HTTP/1.1 strictly.
//!
//! `server::http1` puts every byte of a head to it, since what RFC 9112 lets a recipient accept (bare LF, several
//! spaces) is what smuggling is made of. A whole head is for `server::head` to read, a body for `server::body`. It must
//! never allocate, never look at a byte twice without need, and never let the verdict depend on how the bytes are cut.

use crate::config::limits::Limits;
use crate::proxy::refusal::Refusal;
use crate::server::head::longest_line;
use crate::server::octets::is_token;

/// Searches for the end of a head that begins with the first byte at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Search {
    /// Bytes already searched.
    searched: usize,
}

/// What the bytes at hand amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// So many bytes are a head.
    Head(usize),
    /// So many bytes are to be dropped: empty lines before a request line (section 2.2).
    Empty(usize),
    /// A head that isn't whole yet.
    More,
}

impl Search {
    /// Looks at `bytes`, all that has come since the last head, never empty. After a head or empty lines it begins
    /// anew.
    ///
    /// # Errors
    /// Why they will be no head.
    pub fn look(&mut self, bytes: &[u8], limits: &Limits) -> Result<Found, Refusal> {
        let empty_lines = leading_empty_lines(bytes);
        if empty_lines > 0 {
            self.searched = 0;
            return Ok(Found::Empty(empty_lines));
        }
        match find_head_end(bytes, &mut self.searched)? {
            Some(end) => {
                self.searched = 0;
                Ok(Found::Head(end))
            }
            None => may_become_a_head(bytes, limits).map(|()| Found::More),
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
    use bytes::Bytes;

    use super::*;
    use crate::server::head::read;

    #[test]
    fn what_grows_without_end_is_refused_before_it_has_one() {
        let limits = Limits::default();
        let endless = "a".repeat(longest_line(&limits) + 1);
        assert_eq!(Search::default().look(endless.as_bytes(), &limits), Err(Refusal::TargetTooLong));
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(limits.head_size));
        assert_eq!(Search::default().look(endless.as_bytes(), &limits), Err(Refusal::HeadTooLarge));
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
            let found = Search::default().look(head.as_bytes(), &Limits::default());
            assert_eq!(found, Err(Refusal::BareLf), "{head:?}");
        }
    }

    /// A method of 9000 letters was refused in pieces and passed on whole; a NUL before it had two names.
    #[test]
    fn a_verdict_does_not_depend_on_how_the_bytes_are_cut() {
        let long = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "G".repeat(9000));
        for head in ["\0GET / HTTP/1.1\r\n\r\n", " \0 / HTTP/1.1\r\n\r\n", "\x16\x03\x01\r\n\r\n", &long] {
            let (limits, mut search) = (Limits::default(), Search::default());
            let verdict = |search: &mut Search, end: usize| match search
                .look(&head.as_bytes()[..end], &limits)
            {
                Ok(Found::Head(end)) => read(&Bytes::copy_from_slice(&head.as_bytes()[..end]), &limits).err(),
                outcome => outcome.err(),
            };
            let whole = verdict(&mut Search::default(), head.len());
            let cut = (1..=head.len()).find_map(|end| verdict(&mut search, end));
            assert!(whole.is_some() && whole == cut, "{:?}: {whole:?}, {cut:?}", &head[..12]);
        }
    }

    /// A browser that spoke TLS to the plain port waited ten seconds for its error.
    #[test]
    fn what_is_no_http_at_all_is_refused_by_its_first_byte() {
        for (begin, verdict) in [
            (&b"\x16\x03\x01\x02\x00"[..], Err(Refusal::RequestLine)),
            (b"\x00", Err(Refusal::RequestLine)),
            (b" ", Err(Refusal::RequestLine)),
            (b"\r", Ok(Found::More)),
            (b"G", Ok(Found::More)),
        ] {
            assert_eq!(Search::default().look(begin, &Limits::default()), verdict, "{begin:?}");
        }
    }

    #[test]
    fn heads_are_found_one_at_a_time_however_they_are_cut() {
        let stream = b"\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        for step in 1..stream.len() {
            let (mut search, mut pending, mut heads) = (Search::default(), Vec::new(), Vec::new());
            for piece in stream.chunks(step) {
                pending.extend_from_slice(piece);
                while !pending.is_empty() {
                    match search.look(&pending, &Limits::default()).expect("well formed") {
                        Found::Head(length) => heads.push(pending.drain(..length).collect::<Vec<_>>()),
                        Found::Empty(length) => drop(pending.drain(..length)),
                        Found::More => break,
                    }
                }
            }
            assert!(pending.is_empty(), "step {step}");
            assert_eq!(heads, [&stream[4..32], &stream[32..]], "step {step}");
        }
    }
}
