//! What one exchange leaves behind, and how it is written into the access log.
//!
//! The proxy fills a [`Record`] in while the exchange runs, and pushes it to an
//! [`access_log::Buffer`](super::access_log::Buffer), which writes it. Whatever bytes a visitor sent, a
//! record must be one line, valid UTF-8 and, as JSON, valid JSON; nothing in it may move a terminal's cursor
//! or pass for another record. Writing must never allocate beyond the buffer it writes into.

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};

use crate::config::model::{AccessFormat, Name};

/// One exchange, from a request's first byte to its response's last. Cloned from what was parsed, without
/// copies.
#[derive(Debug, Clone)]
pub struct Record {
    /// When the request's head was whole: milliseconds since 1970, UTC.
    pub started_ms: u64,
    /// The request's method.
    pub method: Method,
    /// The version of HTTP the visitor speaks.
    pub version: Version,
    /// The host that was asked for.
    pub host: Option<HeaderValue>,
    /// The target's path and query.
    pub path: Option<PathAndQuery>,
    /// The status code the visitor got; 499 where it was gone before there was one.
    pub status: u16,
    /// Why it isn't the backend's own answer, whole, where it isn't.
    pub reason: Option<&'static str>,
    /// The route, once found.
    pub route: Option<Name>,
    /// The backend, once chosen.
    pub backend: Option<Name>,
    /// What chose the backend (pin, bucket, sequence …).
    pub chosen_by: Option<&'static str>,
    /// The believed visitor's address.
    pub client: IpAddr,
    /// The request's id, as the backend and the visitor see it.
    pub request_id: Option<HeaderValue>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// From then to the response's last byte.
    pub duration: Duration,
    /// From then to the head of the backend's response, where one came.
    pub first_byte: Option<Duration>,
    /// What a new connection took, where one was made.
    pub connect: Option<Duration>,
    /// How often a backend was tried; 0 where it didn't come to that.
    pub attempts: u8,
}

impl Record {
    /// A record of which nothing else is known yet.
    pub fn new(started_ms: u64, method: Method, version: Version, client: IpAddr) -> Self {
        Self {
            started_ms,
            method,
            version,
            host: None,
            path: None,
            status: 0,
            reason: None,
            route: None,
            backend: None,
            chosen_by: None,
            client,
            request_id: None,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            first_byte: None,
            connect: None,
            attempts: 0,
        }
    }

    /// Appends the record to `out`, as one line with its end. What isn't known is `null`, or `-` in text.
    pub fn write(&self, format: AccessFormat, clock: &mut Clock, out: &mut Vec<u8>) {
        let mut line = Line { start: out.len(), out, format };
        line.key("time");
        line.plain(|out| clock.write(self.started_ms, out));
        line.text("client", |out| display(out, self.client));
        line.bytes("method", Some(self.method.as_str()));
        line.bytes("host", self.host.as_ref());
        line.bytes("path", self.path.as_ref().map(PathAndQuery::as_str));
        line.bytes("protocol", Some(protocol(self.version)));
        line.number("status", self.status.into());
        line.bytes("reason", self.reason);
        line.bytes("route", self.route.as_ref().map(Name::as_str));
        line.bytes("backend", self.backend.as_ref().map(Name::as_str));
        line.bytes("chosen_by", self.chosen_by);
        line.number("attempts", self.attempts.into());
        line.number("bytes_in", self.bytes_in);
        line.number("bytes_out", self.bytes_out);
        line.millis("duration_ms", Some(self.duration));
        line.millis("first_byte_ms", self.first_byte);
        line.millis("connect_ms", self.connect);
        line.bytes("request_id", self.request_id.as_ref());
        line.end();
    }
}

/// RFC 3339 in UTC with milliseconds; the calendar is asked once a second.
#[derive(Debug, Default, Clone)]
pub struct Clock {
    second: Option<u64>,
    /// `2026-01-31T23:59:59`.
    text: Vec<u8>,
}

impl Clock {
    fn write(&mut self, unix_ms: u64, out: &mut Vec<u8>) {
        let (second, ms) = (unix_ms / 1000, unix_ms % 1000);
        if self.second != Some(second) {
            let instant =
                i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
            self.text.clear();
            display(&mut self.text, instant.unwrap_or(jiff::Timestamp::MAX));
            self.text.truncate("2026-01-31T23:59:59".len());
            self.second = Some(second);
        }
        out.extend_from_slice(&self.text);
        thousandths(ms, out);
        out.push(b'Z');
    }
}

/// A line that is being written.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    format: AccessFormat,
}

impl Line<'_> {
    fn key(&mut self, key: &str) {
        let first = self.out.len() == self.start;
        match self.format {
            AccessFormat::Json => {
                self.out.extend_from_slice(if first { b"{\"" } else { b",\"" });
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            AccessFormat::Text => {
                self.out.extend_from_slice(if first { b"" } else { b" " });
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
        }
    }

    /// A value that needs no escapes, with quotes where the format has them.
    fn plain(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match self.format {
            AccessFormat::Json => {
                self.out.push(b'"');
                write(self.out);
                self.out.push(b'"');
            }
            AccessFormat::Text => write(self.out),
        }
    }

    fn text(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.plain(write);
    }

    fn bytes(&mut self, key: &str, value: Option<impl AsRef<[u8]>>) {
        self.key(key);
        let Some(value) = value else { return self.absent() };
        let value = value.as_ref();
        let bare = match self.format {
            AccessFormat::Json => value.iter().all(|&byte| harmless(byte)),
            // A bare `-` is what isn't known, and spaces and `=` end words and keys.
            AccessFormat::Text => {
                let word = |&byte: &u8| harmless(byte) && byte != b' ' && byte != b'=';
                !matches!(value, b"" | b"-") && value.iter().all(word)
            }
        };
        if bare {
            return self.plain(|out| out.extend_from_slice(value));
        }
        self.out.push(b'"');
        escape(value, self.out);
        self.out.push(b'"');
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Milliseconds, to the microsecond.
    fn millis(&mut self, key: &str, value: Option<Duration>) {
        let Some(value) = value else {
            self.key(key);
            return self.absent();
        };
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.number(key, micros / 1000);
        thousandths(micros % 1000, self.out);
    }

    fn absent(&mut self) {
        self.out.extend_from_slice(match self.format {
            AccessFormat::Json => b"null",
            AccessFormat::Text => b"-",
        });
    }

    fn end(self) {
        self.out.extend_from_slice(match self.format {
            AccessFormat::Json => b"}\n",
            AccessFormat::Text => b"\n",
        });
    }
}

/// Bytes that stand for themselves within quotes.
fn harmless(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Within quotes, as JSON has it. What isn't UTF-8 becomes `%XX`, which loses nothing and means the same in a
/// path.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
                _ if unseen(character) => hex(out, b"\\u", u32::from(character), 4),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        chunk.invalid().iter().for_each(|&byte| hex(out, b"%", byte.into(), 2));
    }
}

/// Characters that end lines, move cursors or turn the direction of text (all below U+10000).
fn unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn hex(out: &mut Vec<u8>, mark: &[u8], value: u32, digits: u32) {
    out.extend_from_slice(mark);
    for place in (0..digits).rev() {
        out.push(b"0123456789ABCDEF"[(value >> (4 * place)) as usize & 0xf]);
    }
}

/// `.007` for 7.
fn thousandths(value: u64, out: &mut Vec<u8>) {
    let digit = |of: u64| b'0' + (value / of % 10) as u8;
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

fn display(out: &mut Vec<u8>, value: impl Display) {
    write!(out, "{value}").expect("a Vec takes everything");
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/?",
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn record() -> Record {
        let client = Ipv4Addr::new(203, 0, 113, 7).into();
        let mut record = Record::new(1_772_323_199_042, Method::GET, Version::HTTP_11, client);
        record.host = Some(HeaderValue::from_static("www.example.com"));
        record.path = Some(PathAndQuery::from_static("/a?q=1"));
        record.status = 200;
        record.route = Name::parse("web");
        record.duration = Duration::from_micros(12_003);
        record
    }

    fn written(record: &Record, format: AccessFormat) -> String {
        let mut out = Vec::new();
        record.write(format, &mut Clock::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_for_reading() {
        let expected = "time=2026-02-28T23:59:59.042Z client=203.0.113.7 method=GET host=www.example.com \
            path=\"/a?q=1\" protocol=HTTP/1.1 status=200 reason=- route=web backend=- chosen_by=- attempts=0 \
            bytes_in=0 bytes_out=0 duration_ms=12.003 first_byte_ms=- connect_ms=- request_id=-\n";
        assert_eq!(written(&record(), AccessFormat::Text), expected);
    }

    #[test]
    fn json_has_every_key_and_plain_numbers() {
        let line: Value = serde_json::from_str(&written(&record(), AccessFormat::Json)).unwrap();
        assert_eq!(line.as_object().unwrap().len(), 18);
        assert_eq!(line["time"], "2026-02-28T23:59:59.042Z");
        assert_eq!(line["path"], "/a?q=1");
        assert_eq!(line["duration_ms"], 12.003);
        assert_eq!(line["backend"], Value::Null);
    }

    #[test]
    fn the_clock_follows_seconds_forth_and_back_and_never_fails() {
        let mut clock = Clock::default();
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.999Z"),
            (1_709_210_096_007, "2024-02-29T12:34:56.007Z"),
            (1000, "1970-01-01T00:00:01.000Z"),
            (u64::MAX, "9999-12-30T22:00:00.615Z"),
        ] {
            let mut out = Vec::new();
            clock.write(ms, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn hostile_text_stays_within_its_quotes() {
        for (bytes, expected) in [
            (&b"a\"b\\c"[..], r#"a\"b\\c"#),
            (b"a\nb\r\x1b[2J\x7f\0", r"a\u000Ab\u000D\u001B[2J\u007F\u0000"),
            (b"/\xff\xc3", "/%FF%C3"),
            ("é\u{85}\u{2028}\u{202e}".as_bytes(), r"é\u0085\u2028\u202E"),
        ] {
            let mut out = Vec::new();
            escape(bytes, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_of_valid_json(bytes: Vec<u8>, ms: u64, status: u16, micros: u64) {
            let mut record = record();
            record.started_ms = ms;
            record.status = status;
            record.first_byte = Some(Duration::from_micros(micros));
            record.host = HeaderValue::from_bytes(&bytes).ok();
            record.path = PathAndQuery::try_from(bytes.as_slice()).ok();
            let line = written(&record, AccessFormat::Json);
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert!(serde_json::from_str::<Value>(&line).is_ok(), "{}", line);
            let line = written(&record, AccessFormat::Text);
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        }

        #[test]
        fn any_bytes_are_escaped_to_valid_json(bytes: Vec<u8>) {
            for format in [AccessFormat::Json, AccessFormat::Text] {
                let mut out = Vec::new();
                let mut line = Line { start: 0, out: &mut out, format };
                line.bytes("key", Some(&bytes));
                line.end();
                let line = String::from_utf8(out).unwrap();
                prop_assert!(!line.trim_end_matches('\n').contains(unseen));
                if format == AccessFormat::Json {
                    let back: Value = serde_json::from_str(&line).unwrap();
                    if let Ok(text) = std::str::from_utf8(&bytes) {
                        prop_assert_eq!(&back["key"], text);
                    }
                }
            }
        }
    }
}
