//! What the letter of RFC 9112 says of a whole head: a request line, fields, and how the body behind them ends.
//!
//! `server::framing` asks it once the head is there. Pure: bytes in, a verdict out. It must never allocate, and never
//! guess: what two readers could understand differently is refused.

use crate::config::limits::{LINE_BESIDE_TARGET, Limits};
use crate::headers::length;
use crate::proxy::refusal::Refusal;
use crate::server::octets::{is_control, is_token, is_usual_in_target};

/// What comes after a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A body of so many bytes, mostly none.
    Length(u64),
    /// A chunked body.
    Chunked,
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
    /// With how many digits it was said: two lines of one length are one only if they say it alike.
    length: Option<(u64, usize)>,
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
        let said = (length::of(value).ok_or(Refusal::ContentLength)?, value.len());
        match self.length.replace(said) {
            Some(before) if before != said => Err(Refusal::ContentLength),
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
            (false, length) => Ok(Framing::Length(length.map_or(0, |(length, _)| length))),
        }
    }
}

/// Bytes of a request line.
pub fn longest_line(limits: &Limits) -> usize {
    limits.target_size + LINE_BESIDE_TARGET
}

fn request_line(line: &[u8], limits: &Limits) -> Result<Version, Refusal> {
    if line.len() > longest_line(limits) {
        return Err(Refusal::TargetTooLong);
    }
    // As of a head that isn't whole, whatever else is wrong with it.
    if !line.first().is_some_and(|&first| first == b'\r' || is_token(first)) {
        return Err(Refusal::RequestLine);
    }
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

fn split_at_space(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let space = memchr::memchr(b' ', line).ok_or(Refusal::RequestLine)?;
    Ok((&line[..space], &line[space + 1..]))
}

fn starts_with_ignoring_case(bytes: &[u8], start: &[u8]) -> bool {
    bytes.len() > start.len() && bytes[..start.len()].eq_ignore_ascii_case(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(head: &str) -> Result<Framing, Refusal> {
        examine(head.as_bytes(), &Limits::default())
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
    }
}
