//! Requests and responses as they came over the wire, and the reader that takes them apart.
//!
//! Visitors read responses with it, backends requests. It must never be lenient about where a message ends: a
//! proxy that gets that wrong has to fail.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::DEADLINE;

/// A connection's two directions.
pub(crate) trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// One request or response.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// First line and fields, with their line ends.
    pub(crate) head: String,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The trailers' lines.
    pub(crate) trailers: String,
    /// Whether the body ended where its framing said, and not before.
    pub(crate) whole: bool,
    /// Which connection of a backend it came on, from 0.
    pub(crate) connection: usize,
}

impl Message {
    /// The request line or status line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The status code of a response.
    pub(crate) fn status(&self) -> u16 {
        let code = self.line().split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("no status line: {:?}", self.line()))
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a field.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The one value of a field; fails where there are several.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.fields(name);
        assert!(fields.len() < 2, "{name} stands there {} times:\n{}", fields.len(), self.head);
        fields.first().copied()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Why the proxy answered in the backend's place.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.field("x-crossfade-error")
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length").map(|length| length.parse().expect("a length is a number"))
    }
}

/// Reads messages from a connection. A reset counts as an end.
pub(crate) struct Reader {
    /// The connection.
    pub(crate) stream: Box<dyn Stream>,
    pending: Vec<u8>,
    was_reset: bool,
}

impl Reader {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, pending: Vec::new(), was_reset: false }
    }

    /// Whether the other side reset the connection.
    pub(crate) fn was_reset(&self) -> bool {
        self.was_reset
    }

    /// The next head, without its body; nothing at the connection's end.
    pub(crate) fn head(&mut self) -> Option<Message> {
        let mut searched = 0;
        let end = loop {
            if let Some(at) = find(&self.pending[searched..], b"\r\n\r\n") {
                break searched + at + 4;
            }
            searched = self.pending.len().saturating_sub(3);
            if self.fill() == 0 {
                assert!(self.pending.is_empty(), "half a head: {:?}", lossy(&self.pending));
                return None;
            }
        };
        let head = lossy(&self.pending[..end]);
        self.pending.drain(..end);
        Some(Message { head, body: Vec::new(), trailers: String::new(), whole: true, connection: 0 })
    }

    /// The next request with its body.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut message = self.head()?;
        self.request_body(&mut message);
        Some(message)
    }

    /// The body of a request whose head was read before.
    pub(crate) fn request_body(&mut self, message: &mut Message) {
        match (message.is_chunked(), message.length()) {
            (true, None) => self.chunks(message),
            (true, Some(_)) => panic!("both framings:\n{}", message.head),
            (false, length) => self.length(length.unwrap_or(0), message),
        }
    }

    /// The next response to a request of `method`, with its body.
    pub(crate) fn response(&mut self, method: &str) -> Option<Message> {
        let mut message = self.head()?;
        let bodiless = method == "HEAD" || matches!(message.status(), 100..=199 | 204 | 304);
        match (message.is_chunked(), message.length()) {
            (true, Some(_)) => panic!("both framings:\n{}", message.head),
            _ if bodiless => {}
            (true, None) => self.chunks(&mut message),
            (false, Some(length)) => self.length(length, &mut message),
            (false, None) => {
                while self.fill() > 0 {}
                message.body = std::mem::take(&mut self.pending);
                message.whole = !self.was_reset;
            }
        }
        Some(message)
    }

    /// Everything to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.pending)
    }

    /// The next `length` bytes, fewer where the connection ends before.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.pending.len() < length && self.fill() > 0 {}
        let end = length.min(self.pending.len());
        self.pending.drain(..end).collect()
    }

    /// What comes next, nothing at the end.
    pub(crate) fn take_some(&mut self) -> Vec<u8> {
        if self.pending.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.pending)
    }

    /// Whether nothing comes on `socket`, which is the stream's, for `time`, nor does the connection end.
    pub(crate) fn is_silent_for(&self, socket: &TcpStream, time: Duration) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        socket.set_read_timeout(Some(time)).unwrap();
        let peeked = socket.peek(&mut [0]);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        peeked.is_err()
    }

    /// Reads once; says how many bytes came, 0 at the end.
    pub(crate) fn fill(&mut self) -> usize {
        let mut chunk = vec![0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(read) => {
                self.pending.extend_from_slice(&chunk[..read]);
                read
            }
            Err(error) if is_timeout(&error) => panic!("nothing came, after {:?}", lossy(&self.pending)),
            Err(_) => {
                self.was_reset = true;
                0
            }
        }
    }

    /// Reads once and forgets it, with what was read before; says how many bytes that was.
    pub(crate) fn discard(&mut self) -> usize {
        if self.pending.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.pending).len()
    }

    /// Writes to `socket`, which is the stream's, until it takes nothing for `patience`.
    pub(crate) fn send_until_stalled(
        &mut self,
        socket: &TcpStream,
        most: usize,
        patience: Duration,
    ) -> usize {
        socket.set_write_timeout(Some(patience)).unwrap();
        let chunk = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < most {
            match self.stream.write(&chunk[..chunk.len().min(most - sent)]) {
                Ok(written) => sent += written,
                Err(_) => break,
            }
        }
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        sent
    }

    /// What was read beyond the last message.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.pending
    }

    fn length(&mut self, length: usize, message: &mut Message) {
        while self.pending.len() < length && self.fill() > 0 {}
        message.whole = self.pending.len() >= length;
        let end = length.min(self.pending.len());
        message.body = self.pending.drain(..end).collect();
    }

    fn chunks(&mut self, message: &mut Message) {
        message.whole = false;
        loop {
            let Some(size) = self.line() else { return };
            let size = usize::from_str_radix(&size, 16).expect("a chunk's size is hexadecimal");
            if size == 0 {
                break;
            }
            while self.pending.len() < size + 2 && self.fill() > 0 {}
            let there = size.min(self.pending.len());
            message.body.extend(self.pending.drain(..there));
            if there < size || self.line().as_deref() != Some("") {
                return;
            }
        }
        while let Some(line) = self.line() {
            if line.is_empty() {
                message.whole = true;
                return;
            }
            message.trailers += &line;
            message.trailers += "\n";
        }
    }

    /// The next line without its CRLF; nothing where the connection ends before.
    fn line(&mut self) -> Option<String> {
        let end = loop {
            match find(&self.pending, b"\r\n") {
                Some(end) => break end,
                None if self.fill() == 0 => return None,
                None => {}
            }
        };
        let line = lossy(&self.pending[..end]);
        self.pending.drain(..end + 2);
        Some(line)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
