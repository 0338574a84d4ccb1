//! A visitor from an address of its own, who sends bytes and takes the answers apart by the letter.
//!
//! Its address is how the recorder tells whose a request is: the proxy writes it, not the bytes. It must never wait
//! longer than the deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// What hasn't come by then never will.
const DEADLINE: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether it came to the end that its framing says.
    pub(crate) whole: bool,
}

impl Answer {
    /// The one value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = named.next().map(|(_, value)| value.as_str());
        value.filter(|_| named.next().is_none())
    }
}

/// One connection to the proxy.
pub(crate) struct Caller {
    socket: TcpStream,
    pending: Vec<u8>,
    ended: bool,
    since: Instant,
}

impl Caller {
    /// From `own` to `address`.
    pub(crate) fn connect(own: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = connected(own, address);
        socket.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
        Self { socket, pending: Vec::new(), ended: false, since: Instant::now() }
    }

    /// Writes in pieces of `step` bytes. The proxy may have closed already: what it said is there all the same.
    pub(crate) fn send(&mut self, bytes: &[u8], step: usize) {
        bytes.chunks(step.max(1)).all(|piece| self.socket.write_all(piece).is_ok());
    }

    /// Says that no more will come.
    pub(crate) fn end(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The next answer to a request of `method`; nothing at the connection's end. What is before it of 1xx is skipped.
    pub(crate) fn answer(&mut self, method: &str) -> Result<Option<Answer>, String> {
        loop {
            let Some(head) = self.through(b"\r\n\r\n")? else {
                let left = std::mem::take(&mut self.pending);
                return match left.is_empty() {
                    true => Ok(None),
                    false => Err(format!("half a head: {:?}", String::from_utf8_lossy(&left))),
                };
            };
            let mut answer = heading(&head)?;
            if (100..200).contains(&answer.status) && answer.status != 101 {
                continue;
            }
            let bodiless = method == "HEAD" || matches!(answer.status, 101 | 204 | 304);
            let length = answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let lengths: Vec<String> = length.map(|(_, value)| value.clone()).collect();
            let coding =
                answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
            let codings: Vec<String> = coding.map(|(_, value)| value.clone()).collect();
            answer.whole = match (lengths.as_slice(), codings.as_slice()) {
                ([], []) | ([_], []) if bodiless => true,
                ([length], []) => {
                    let length = length.parse().map_err(|_| format!("length {length:?}"))?;
                    self.fill_to(length)?;
                    let there = length.min(self.pending.len());
                    answer.body = self.pending.drain(..there).collect();
                    there == length
                }
                ([], [coding]) if coding == "chunked" && !bodiless => self.chunks(&mut answer.body)?,
                ([], []) => {
                    self.fill_to(usize::MAX)?;
                    answer.body = std::mem::take(&mut self.pending);
                    true
                }
                other => return Err(format!("framed as {other:?}")),
            };
            return Ok(Some(answer));
        }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<bool, String> {
        loop {
            let Some(line) = self.through(b"\r\n")? else { return Ok(false) };
            let text = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
            let size = usize::from_str_radix(&text, 16).map_err(|_| format!("chunk of {text:?}"))?;
            if size == 0 {
                break;
            }
            self.fill_to(size + 2)?;
            let there = size.min(self.pending.len());
            body.extend(self.pending.drain(..there));
            match self.through(b"\r\n")? {
                Some(end) if end == b"\r\n" => {}
                Some(other) => return Err(format!("a chunk with {other:?} behind it")),
                None => return Ok(false),
            }
        }
        while let Some(line) = self.through(b"\r\n")? {
            if line == b"\r\n" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn through(&mut self, end: &[u8]) -> Result<Option<Vec<u8>>, String> {
        loop {
            let at = self.pending.windows(end.len()).position(|window| window == end);
            if let Some(at) = at {
                return Ok(Some(self.pending.drain(..at + end.len()).collect()));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn fill_to(&mut self, length: usize) -> Result<(), String> {
        while self.pending.len() < length && self.fill()? {}
        Ok(())
    }

    /// Reads once; whether something came before the end.
    fn fill(&mut self) -> Result<bool, String> {
        let mut chunk = [0; 16 * 1024];
        while !self.ended {
            match self.socket.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    self.pending.extend_from_slice(&chunk[..read]);
                    return Ok(true);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.since.elapsed() > DEADLINE {
                        return Err(format!("hangs after {:?}", String::from_utf8_lossy(&self.pending)));
                    }
                }
                Err(error) => return Err(format!("broken: {error}")),
            }
        }
        Ok(false)
    }
}

/// A socket from `own` to `address`.
pub(crate) fn connected(own: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
    socket.connect(&address.into()).expect("the proxy accepts");
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn heading(head: &[u8]) -> Result<Answer, String> {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let known = first.strip_prefix("HTTP/1.1 ").or(first.strip_prefix("HTTP/1.0 "));
    let status = known.and_then(|rest| rest.get(..3)?.parse().ok());
    let mut answer =
        Answer { status: status.ok_or(format!("no status line: {text:?}"))?, ..Answer::default() };
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(format!("no field: {line:?} of {text:?}"))?;
        if name.is_empty() || line.bytes().any(|byte| byte < 0x20 && byte != b'\t') {
            return Err(format!("no field: {line:?} of {text:?}"));
        }
        answer.fields.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(answer)
}
