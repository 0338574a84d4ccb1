//! A backend that reads requests by the letter and records each with the visitor it came from.
//!
//! Whatever isn't exactly one request after another, in the one form that every server reads alike, is recorded as a
//! fault. It must never guess, nor forget a byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// A running recorder; its threads end with their connections.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    heard: Receiver<Result<Heading, String>>,
}

/// One request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heading {
    /// Method and target.
    pub(crate) what: String,
    /// Fields in the order they came.
    pub(crate) fields: Vec<(String, String)>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The trailers' lines.
    pub(crate) trailers: Vec<String>,
}

impl Heading {
    /// All values of a field.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let tell = tell.clone();
                std::thread::spawn(move || listen(socket, &tell));
            }
        });
        Self { address, heard }
    }

    /// Everything since the last look: whole requests, those of one visitor in their order, and what was none by the
    /// letter.
    pub(crate) fn heard(&self) -> Vec<Result<Heading, String>> {
        self.heard.try_iter().collect()
    }
}

/// Answers each request with what it was understood as.
fn listen(socket: TcpStream, tell: &Sender<Result<Heading, String>>) {
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut wire = Wire { socket, pending: Vec::new() };
    loop {
        let outcome = wire.request();
        let answer = match &outcome {
            Ok(None) => return,
            Ok(Some(request)) => answer(&request.what),
            Err(_) => String::new(),
        };
        let fault = outcome.as_ref().is_err();
        let told =
            outcome.map_err(|fault| format!("{fault}, then {:?}", String::from_utf8_lossy(&wire.pending)));
        // A test that has seen enough doesn't listen any more.
        let _ = tell.send(told.map(Option::unwrap_or_default));
        if fault || wire.socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(what: &str) -> String {
    let body = if what.starts_with("HEAD ") { "" } else { what };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", what.len())
}

struct Wire {
    socket: TcpStream,
    pending: Vec<u8>,
}

impl Wire {
    /// The next whole request; nothing where the connection ends before its last byte.
    fn request(&mut self) -> Result<Option<Heading>, String> {
        let Some(head) = self.through(b"\r\n\r\n") else { return Ok(None) };
        let mut request = heading(&head)?;
        let (lengths, encodings) = (request.values("content-length"), request.values("transfer-encoding"));
        match (lengths.as_slice(), encodings.as_slice()) {
            ([], []) => {}
            ([length], []) => {
                let plain = length.bytes().all(|byte| byte.is_ascii_digit());
                let usual = plain && (*length == "0" || !length.starts_with('0'));
                let length = length.parse().ok().filter(|_| usual).ok_or(format!("length {length:?}"))?;
                let Some(body) = self.take(length) else { return Ok(None) };
                request.body = body;
            }
            ([], ["chunked"]) => return self.chunks(request),
            other => return Err(format!("framed as {other:?}")),
        }
        Ok(Some(request))
    }

    fn chunks(&mut self, mut request: Heading) -> Result<Option<Heading>, String> {
        loop {
            let Some(line) = self.through(b"\r\n") else { return Ok(None) };
            let text = String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned();
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(&text, 16).ok().filter(|_| digits);
            let size = size.ok_or(format!("chunk of {text:?}"))?;
            if size == 0 {
                break;
            }
            let Some(data) = self.take(size + 2) else { return Ok(None) };
            request.body.extend(data.strip_suffix(b"\r\n").ok_or("a chunk without its end")?);
        }
        loop {
            let Some(line) = self.through(b"\r\n") else { return Ok(None) };
            if line == b"\r\n" {
                return Ok(Some(request));
            }
            let (name, value) = field(&line[..line.len() - 2])?;
            request.trailers.push(format!("{name}: {value}"));
        }
    }

    /// All bytes up to and with `end`.
    fn through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let at = self.pending.windows(end.len()).position(|window| window == end);
            if let Some(at) = at {
                return Some(self.pending.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.pending.len() < length {
            self.fill()?;
        }
        Some(self.pending.drain(..length).collect())
    }

    fn fill(&mut self) -> Option<()> {
        let mut chunk = [0; 16 * 1024];
        let read = self.socket.read(&mut chunk).ok().filter(|read| *read > 0)?;
        self.pending.extend_from_slice(&chunk[..read]);
        Some(())
    }
}

/// A head by RFC 9112's grammar: nothing that a recipient may accept besides.
fn heading(head: &[u8]) -> Result<Heading, String> {
    let shown = || format!("{:?}", String::from_utf8_lossy(head));
    let text = &head[..head.len() - 2];
    let mut lines = text.split(|byte| *byte == b'\n');
    let first = lines.next().and_then(|line| line.strip_suffix(b"\r")).ok_or_else(shown)?;
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = words[..] else { return Err(shown()) };
    let visible = target.iter().all(|byte| *byte > 0x20 && *byte != 0x7f);
    if !is_token(method) || !visible || !matches!(target[0], b'/' | b'*') {
        return Err(shown());
    }
    let what = format!("{} {}", String::from_utf8_lossy(method), String::from_utf8_lossy(target));
    let mut request = Heading { what, ..Heading::default() };
    for line in lines.filter(|line| !line.is_empty()) {
        let line = line.strip_suffix(b"\r").ok_or_else(shown)?;
        request.fields.push(field(line)?);
    }
    if request.values("host").len() != 1 || request.values("x-forwarded-for").len() != 1 {
        return Err(shown());
    }
    Ok(request)
}

fn field(line: &[u8]) -> Result<(String, String), String> {
    let shown = || format!("field {:?}", String::from_utf8_lossy(line));
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(shown)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let text = value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f));
    if !is_token(name) || !text {
        return Err(shown());
    }
    Ok((String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
}

fn is_token(bytes: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(token)
}
