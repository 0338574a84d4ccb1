//! Where a request's head and body end, by the letter of RFC 9112: the strict half of reading HTTP/1.1.
//!
//! `server::guard` runs every byte from a visitor past it before hyper sees one, since hyper accepts what RFC
//! 9112 lets a recipient accept (bare LF, several spaces) and smuggling is made of. Pure: bytes in, verdicts
//! out. It must never allocate, never look at a byte twice without need, and never guess.

use crate::config::limits::Limits;
use crate::proxy::refusal::Refusal;
use crate::server::chunked::Chunked;

/// What comes after a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A body of so many bytes, mostly none.
    Length(u64),
    /// A chunked body.
    Chunked,
}

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

/// Checks a whole head, from the request line to the empty line, and says what follows it.
pub fn examine(head: &[u8], limits: &Limits) -> Result<Framing, Refusal> {
    if head.len() > limits.head_size {
        return Err(Refusal::HeadTooLarge);
    }
    let mut lines = Lines { rest: head };
    let version = request_line(lines.next().ok_or(Refusal::RequestLine)?, limits)?;
    let mut fields = Fields { version, count: 0, length: None, chunked: false };
    for line in lines {
        if line.is_empty() {
            break;
        }
        fields.field(line, limits)?;
    }
    fields.framing()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// The lines of a head without their CRLF. That each LF follows a CR was checked when the end was searched.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end.saturating_sub(1)];
        self.rest = &self.rest[end + 1..];
        Some(line)
    }
}

/// What the fields say about framing, gathered line by line.
struct Fields {
    version: Version,
    count: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Fields {
    fn field(&mut self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > limits.header_count {
            return Err(Refusal::TooManyFields);
        }
        let (name, value) = split_field(line)?;
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = decimal(value).ok_or(Refusal::ContentLength)?;
        match self.length.replace(length) {
            Some(before) if before != length => Err(Refusal::ContentLength),
            _ => Ok(()),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let fits = self.version == Version::Http11 && !self.chunked && value.eq_ignore_ascii_case(b"chunked");
        self.chunked = true;
        if fits { Ok(()) } else { Err(Refusal::TransferEncoding) }
    }

    fn framing(&self) -> Result<Framing, Refusal> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refusal::LengthWithEncoding),
            (true, None) => Ok(Framing::Chunked),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
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
    let in_request_line =
        memchr::memchr(b'\n', &bytes[..bytes.len().min(limits.target_size + 512)]).is_none();
    if in_request_line && bytes.len() > limits.target_size + 512 {
        return Err(Refusal::TargetTooLong);
    }
    if bytes.len() > limits.head_size { Err(Refusal::HeadTooLarge) } else { Ok(()) }
}

fn request_line(line: &[u8], limits: &Limits) -> Result<Version, Refusal> {
    check_bytes(line)?;
    let (method, rest) = split_at_space(line)?;
    let (target, version) = split_at_space(rest)?;
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(Refusal::RequestLine);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::RequestLine),
    };
    if target.len() > limits.target_size {
        return Err(Refusal::TargetTooLong);
    }
    check_target(method, target)?;
    Ok(version)
}

/// Method names are case-sensitive; `connect` is an unknown method and passes by name.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(Refusal::Method);
    }
    let absolute =
        || starts_with_ignoring_case(target, b"http://") || starts_with_ignoring_case(target, b"https://");
    let form = target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") || absolute();
    let path = matches!(target.first(), Some(b'/' | b'*'));
    if form && path && target.iter().copied().all(is_usual_in_target) {
        return Ok(());
    }
    // The rest is put to the parser that will have to read it; a fragment is never sent (RFC 9112 section
    // 3.2).
    let readable = form && !target.contains(&b'#') && http::Uri::try_from(target).is_ok();
    if readable { Ok(()) } else { Err(Refusal::Target) }
}

fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line[0], b' ' | b'\t') {
        return Err(Refusal::ObsFold);
    }
    let name_len = line.iter().position(|b| !is_token(*b)).ok_or(Refusal::FieldName)?;
    let name = &line[..name_len];
    match line[name_len] {
        b':' if name_len > 0 => {}
        b' ' | b'\t' if line[name_len..].contains(&b':') => return Err(Refusal::SpaceBeforeColon),
        byte if is_control(byte) => return Err(control_refusal(byte)),
        _ => return Err(Refusal::FieldName),
    }
    let value = &line[name_len + 1..];
    check_bytes(value)?;
    Ok((name, value.trim_ascii()))
}

/// Nothing but HTAB, visible ASCII, space and obs-text (RFC 9110 section 5.5).
fn check_bytes(bytes: &[u8]) -> Result<(), Refusal> {
    // Without a way out of the loop it is done by many bytes at a time.
    if !bytes.iter().fold(false, |found, byte| found | is_control(*byte)) {
        return Ok(());
    }
    match bytes.iter().copied().find(|byte| is_control(*byte)) {
        Some(byte) => Err(control_refusal(byte)),
        None => Ok(()),
    }
}

fn control_refusal(byte: u8) -> Refusal {
    if byte == b'\r' { Refusal::BareCr } else { Refusal::ControlCharacter }
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

fn split_at_space(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let space = memchr::memchr(b' ', line).ok_or(Refusal::RequestLine)?;
    Ok((&line[..space], &line[space + 1..]))
}

fn starts_with_ignoring_case(bytes: &[u8], start: &[u8]) -> bool {
    bytes.len() > start.len() && bytes[..start.len()].eq_ignore_ascii_case(start)
}

/// `value` as plain digits below 2^53 (what every implementation behind us can count exactly).
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 16 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = value.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (number < 1 << 53).then_some(number)
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
            )
            || matches!(b, b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

fn is_usual_in_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'?' | b'&' | b'=' | b'.' | b'-' | b'_' | b'~' | b'%' | b'+' | b',' | b':' | b';'
        )
        || matches!(byte, b'@' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(head: &str) -> Result<Framing, Refusal> {
        let mut framer = Framer::at_start();
        match framer.pass(head.as_bytes(), &Limits::default())? {
            Passage::Pass(length) => assert_eq!(length, head.len(), "the whole head passes: {head:?}"),
            other => panic!("{head:?} gave {other:?}"),
        }
        Ok(match framer {
            Framer::Head { .. } => Framing::Length(0),
            Framer::Length(length) => Framing::Length(length),
            Framer::Chunked(_) => Framing::Chunked,
        })
    }

    #[test]
    fn a_head_says_how_its_body_ends() {
        for (head, framing) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
            ("GET / HTTP/1.0\r\n\r\n", Framing::Length(0)),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", Framing::Length(5)),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length:5\r\n\r\n", Framing::Length(5)),
            ("POST / HTTP/1.1\r\ntransfer-ENCODING: Chunked\r\n\r\n", Framing::Chunked),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
            ("GET http://a.example/x HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
            ("GET /a|b\"{} HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
            ("BREW /pot HTTP/1.1\r\nX: \t caf\u{e9} \r\n\r\n", Framing::Length(0)),
        ] {
            assert_eq!(verdict(head), Ok(framing), "{head:?}");
        }
    }

    #[test]
    fn ambiguous_heads_are_refused_by_name() {
        for (head, refusal) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Refusal::BareLf),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Refusal::BareLf),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Refusal::BareLf),
            ("\nGET / HTTP/1.1\r\n\r\n", Refusal::BareLf),
            ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", Refusal::BareCr),
            ("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", Refusal::ControlCharacter),
            ("GET / HTTP/1.1\r\nX\0: b\r\n\r\n", Refusal::ControlCharacter),
            ("GET /\0 HTTP/1.1\r\n\r\n", Refusal::ControlCharacter),
            ("GET / HTTP/1.1\r\nX: a\x7fb\r\n\r\n", Refusal::ControlCharacter),
            ("GET  / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
            ("GET / HTTP/1.1 \r\n\r\n", Refusal::RequestLine),
            (" GET / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
            ("GET\t/ HTTP/1.1\r\n\r\n", Refusal::RequestLine),
            ("GET /\r\n\r\n", Refusal::RequestLine),
            ("G\u{e9}T / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
            ("GET / http/1.1\r\n\r\n", Refusal::RequestLine),
            ("GET / HTTP/1.2\r\n\r\n", Refusal::Version),
            ("PRI * HTTP/2.0\r\n\r\n", Refusal::Version),
            ("CONNECT a:443 HTTP/1.1\r\n\r\n", Refusal::Method),
            ("TRACE / HTTP/1.1\r\n\r\n", Refusal::Method),
            ("GET a HTTP/1.1\r\n\r\n", Refusal::Target),
            ("GET * HTTP/1.1\r\n\r\n", Refusal::Target),
            ("GET ftp://a/ HTTP/1.1\r\n\r\n", Refusal::Target),
            ("GET /a#b HTTP/1.1\r\n\r\n", Refusal::Target),
            ("GET /<script> HTTP/1.1\r\n\r\n", Refusal::Target),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::SpaceBeforeColon),
            ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", Refusal::SpaceBeforeColon),
            ("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", Refusal::ObsFold),
            ("GET / HTTP/1.1\r\n\tX: a\r\n\r\n", Refusal::ObsFold),
            ("GET / HTTP/1.1\r\n: a\r\n\r\n", Refusal::FieldName),
            ("GET / HTTP/1.1\r\nnocolon\r\n\r\n", Refusal::FieldName),
            ("GET / HTTP/1.1\r\nX(y): a\r\n\r\n", Refusal::FieldName),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Refusal::ContentLength),
            ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", Refusal::ContentLength),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", Refusal::ContentLength),
            ("POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", Refusal::ContentLength),
            ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", Refusal::ContentLength),
            ("POST / HTTP/1.1\r\nContent-Length: 9007199254740992\r\n\r\n", Refusal::ContentLength),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Refusal::TransferEncoding),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", Refusal::TransferEncoding),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", Refusal::TransferEncoding),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", Refusal::ControlCharacter),
            ("POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", Refusal::TransferEncoding),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::TransferEncoding),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                Refusal::LengthWithEncoding,
            ),
        ] {
            assert_eq!(verdict(head), Err(refusal), "{head:?}");
        }
    }

    /// hyper refused these after us, with an answer of its own and no record.
    #[test]
    fn an_absolute_target_is_put_to_the_parser_that_reads_it() {
        for (target, good) in [
            ("http://a/", true),
            ("http://a:80/x?y", true),
            ("http://a:b:c/", false),
            ("http:///x", false),
            ("http://a@/", false),
            ("https://?x", false),
        ] {
            let verdict = verdict(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(verdict.is_ok(), good, "{target}");
        }
    }

    #[test]
    fn what_is_too_large_is_named() {
        let limits = Limits::default();
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(limits.target_size));
        assert_eq!(verdict(&long), Err(Refusal::TargetTooLong));
        let wide = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(limits.head_size));
        assert_eq!(verdict(&wide), Err(Refusal::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(limits.header_count + 1));
        assert_eq!(verdict(&many), Err(Refusal::TooManyFields));
        let mut framer = Framer::at_start();
        let endless = "a".repeat(limits.target_size + 513);
        assert_eq!(framer.pass(endless.as_bytes(), &limits), Err(Refusal::TargetTooLong));
        let mut framer = Framer::at_start();
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(limits.head_size));
        assert_eq!(framer.pass(endless.as_bytes(), &limits), Err(Refusal::HeadTooLarge));
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
