//! Pure: a whole head by the letter of RFC 9112: a request line, fields, and how the body behind them ends.
//!
//! `server::http1` asks it once the head is there. Its values stay where they were read to. It must never guess: what
//! two readers could understand differently is refused.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};

use crate::config::limits::{LINE_BESIDE_TARGET, Limits};
use crate::headers::field::{self, Lines};
use crate::headers::length;
use crate::proxy::refusal::Refusal;
use crate::server::octets::{is_control, is_token, is_usual_in_target};

/// Fields that are added on the way to a backend, for room made once.
const OURS: usize = 2;

/// A request's head.
#[derive(Debug)]
pub struct Head {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub target: Uri,
    /// HTTP/1.1 or 1.0.
    pub version: Version,
    /// Its fields.
    pub headers: HeaderMap,
    /// What follows.
    pub framing: Framing,
    /// What its fields say of the connection.
    pub options: Options,
}

/// What comes after a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A body of so many bytes, mostly none.
    Length(u64),
    /// A chunked body.
    Chunked,
}

/// What a visitor wants of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `Connection: close` (RFC 9112 section 9.6).
    pub closes: bool,
    /// `Connection: keep-alive`, which HTTP/1.0 has to say.
    pub keeps_alive: bool,
    /// `TE: trailers`: it takes the fields behind a body (RFC 9110 section 10.1.4).
    pub trailers: bool,
    /// `Expect: 100-continue`: it may wait for that with its body (section 10.1.1).
    pub expects: bool,
}

/// Reads a whole head, from the request line to the empty line.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(head: &Bytes, limits: &Limits) -> Result<Head, Refusal> {
    if head.len() > limits.head_size {
        return Err(Refusal::HeadTooLarge);
    }
    // That each LF follows a CR was checked when the end was searched.
    let mut lines = Lines::of(head);
    let (method, target, version) = request_line(lines.next().ok_or(Refusal::RequestLine)?, limits)?;
    let several = memchr::memchr_iter(b'\n', lines.rest()).count().min(limits.header_count);
    let headers = HeaderMap::with_capacity(several + OURS);
    let mut fields =
        Fields { version, headers, count: 0, length: None, chunked: false, options: Options::default() };
    for line in lines {
        if line.is_empty() {
            break;
        }
        fields.field(head, line, limits)?;
    }
    let framing = fields.framing()?;
    let target = Uri::from_maybe_shared(head.slice_ref(target)).map_err(|_| Refusal::Target)?;
    let Fields { headers, mut options, .. } = fields;
    // HTTP/1.0 knows nothing of it, and takes an informational response for the last (RFC 9110 section 10.1.1).
    options.expects &= version == Version::HTTP_11;
    Ok(Head { method, target, version, headers, framing, options })
}

/// The fields and what they say about framing, gathered line by line.
struct Fields {
    version: Version,
    headers: HeaderMap,
    count: usize,
    /// With how many digits it was said: two lines of one length are one only if they say it alike.
    length: Option<(u64, usize)>,
    chunked: bool,
    options: Options,
}

impl Fields {
    /// One more `line` of `head`.
    fn field(&mut self, head: &Bytes, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > limits.header_count {
            return Err(Refusal::TooManyFields);
        }
        // Whatever isn't one is looked at again, for what is wrong with it.
        let Some((name, parsed, value)) = field::read(head, line) else { return Err(refusal(line)) };
        let text = value.as_bytes();
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(text)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(text)?,
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(text),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.options.expects |= text.eq_ignore_ascii_case(b"100-continue");
            }
            2 if name.eq_ignore_ascii_case(b"te") => self.options.trailers |= lists(text, b"trailers"),
            _ => {}
        }
        self.headers.append(parsed, value);
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        self.options.closes |= lists(value, b"close");
        self.options.keeps_alive |= lists(value, b"keep-alive");
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let said = (length::of(value).ok_or(Refusal::ContentLength)?, value.len());
        match self.length.replace(said) {
            Some(before) if before != said => Err(Refusal::ContentLength),
            _ => Ok(()),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let fits =
            self.version == Version::HTTP_11 && !self.chunked && value.eq_ignore_ascii_case(b"chunked");
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

fn request_line<'a>(line: &'a [u8], limits: &Limits) -> Result<(Method, &'a [u8], Version), Refusal> {
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
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
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
    let method = Method::from_bytes(method).map_err(|_| Refusal::RequestLine)?;
    Ok((method, target, version))
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
    // A fragment is never sent (RFC 9112 section 3.2). The rest is for the parser of targets to say.
    if form && !target.contains(&b'#') { Ok(()) } else { Err(Refusal::Target) }
}

/// What is wrong with a line that is no field.
fn refusal(line: &[u8]) -> Refusal {
    if matches!(line[0], b' ' | b'\t') {
        return Refusal::ObsFold;
    }
    let name_len = line.iter().position(|b| !is_token(*b)).unwrap_or(line.len());
    match line.get(name_len) {
        Some(b':') if name_len > 0 => check_bytes(&line[name_len + 1..]).err().unwrap_or(Refusal::FieldName),
        Some(b' ' | b'\t') if line[name_len..].contains(&b':') => Refusal::SpaceBeforeColon,
        Some(&byte) if is_control(byte) => control_refusal(byte),
        _ => Refusal::FieldName,
    }
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

/// Whether a list's `value` has this element.
fn lists(value: &[u8], element: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|listed| listed.trim_ascii().eq_ignore_ascii_case(element))
}

fn starts_with_ignoring_case(bytes: &[u8], start: &[u8]) -> bool {
    bytes.len() > start.len() && bytes[..start.len()].eq_ignore_ascii_case(start)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn verdict(head: &str) -> Result<Framing, Refusal> {
        read(&Bytes::copy_from_slice(head.as_bytes()), &Limits::default()).map(|head| head.framing)
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
    fn a_head_is_read_as_it_stands() {
        let text = "PATCH /a?b=c HTTP/1.0\r\nHost: a\r\nX: \t 1 \r\nx:2\r\nConnection: x, Close\r\n\
                    TE: gzip, Trailers\r\nExpect: 100-Continue\r\n\r\n";
        let head = read(&Bytes::from_static(text.as_bytes()), &Limits::default()).unwrap();
        assert_eq!((head.method, head.version), (Method::PATCH, Version::HTTP_10));
        assert_eq!(head.target, "/a?b=c");
        assert_eq!(head.headers.get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((head.headers.len(), &head.headers["host"]), (6, &HeaderValue::from_static("a")));
        let options = Options { closes: true, keeps_alive: false, trailers: true, expects: false };
        assert_eq!(head.options, options);
        let newer = Bytes::from(text.replace("HTTP/1.0", "HTTP/1.1"));
        assert!(read(&newer, &Limits::default()).unwrap().options.expects, "HTTP/1.0 waits for nothing");
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
    fn the_types_take_what_the_grammar_does_and_nothing_else() {
        for byte in 0..=u8::MAX {
            assert_eq!(HeaderName::from_bytes(&[byte]).is_ok(), is_token(byte), "{byte}");
            assert_eq!(HeaderValue::from_bytes(&[byte]).is_ok(), !is_control(byte), "{byte}");
        }
        for text in ["A: \u{b}b", "A: b\u{c}", "A:\u{85}b", "\u{e9}: b"] {
            let verdict = verdict(&format!("GET / HTTP/1.1\r\n{text}\r\n\r\n"));
            assert_eq!(verdict.is_err(), !text.contains('\u{85}'), "{text:?}");
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
