//! A visitor of HTTP/2 frame by frame (RFC 9113 section 4): whatever a test wants to send, legal or not.
//!
//! It must never correct what is sent, nor answer anything by itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::DEADLINE;

/// What a visitor's connection begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITIZED: u8 = 32;
/// A whole request without a body.
pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A SETTINGS frame.
pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let pairs = settings.iter().map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(SETTINGS, 0, 0, pairs.collect::<Vec<_>>().concat())
}

/// A header block (RFC 7541) of literals without indexing, as they are.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            integer(text.len(), &mut bytes);
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The fields of a GET.
pub(crate) fn get(path: &str) -> Vec<(&'static str, &str)> {
    request("GET", path)
}

/// The fields of a request.
pub(crate) fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":authority", "a.example"), (":path", path)]
}

/// A whole GET of `path` on `stream`.
pub(crate) fn asking(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, block(&get(path)))
}

/// The begin of a POST to `path` on `stream`.
pub(crate) fn posting(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, block(&request("POST", path)))
}

/// A connection to the proxy in frames.
pub(crate) struct Frames {
    /// The socket itself.
    pub(crate) socket: TcpStream,
}

impl Frames {
    /// Connects, and says nothing.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the proxy accepts");
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { socket }
    }

    /// Connects with preface and settings.
    pub(crate) fn open(address: SocketAddr, wanted: &[(u16, u32)]) -> Self {
        let mut frames = Self::connect(address);
        assert!(frames.send([PREFACE, &settings(wanted)].concat()));
        frames
    }

    /// Writes; says whether all of it could be.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// The next frame; nothing where the connection ends, by a reset too.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let mut payload = vec![0; number(&head[..3]) as usize];
        self.fill(&mut payload)?;
        Some(Frame { kind: head[3], flags: head[4], stream: number(&head[5..]), payload })
    }

    /// The next frame, if one begins before the socket's time to read is over.
    pub(crate) fn next_within(&mut self) -> Option<Frame> {
        self.socket.peek(&mut [0]).ok()?;
        self.next()
    }

    /// The next frame of `kind`, whatever comes before it.
    pub(crate) fn next_of(&mut self, kind: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.kind == kind)
    }

    /// Reads to the end of the connection, answering every PING; the frames that came.
    pub(crate) fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(got) = self.next() {
            if got.kind == PING && got.flags & ACK == 0 {
                self.send(frame(PING, ACK, 0, &got.payload));
            }
            frames.push(got);
        }
        frames
    }

    /// The first word about `stream`, or about the connection.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.next() {
            match frame.kind {
                GOAWAY if code(&frame, 4) != 0 => return Outcome::Connection(code(&frame, 4)),
                RST_STREAM if frame.stream == stream => return Outcome::Stream(code(&frame, 0)),
                HEADERS if frame.stream == stream => return Outcome::Status(status(&frame.payload)),
                _ => {}
            }
        }
        Outcome::Closed
    }

    /// Says that no more bytes will come.
    pub(crate) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.socket.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) => {
                let waits = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!waits, "nothing came, and the connection is open");
                None
            }
        }
    }
}

/// What becomes of a request, or of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// GOAWAY with an error.
    Connection(u32),
    /// RST_STREAM.
    Stream(u32),
    /// A response.
    Status(u16),
    /// The connection ended without a word.
    Closed,
}

fn code(frame: &Frame, at: usize) -> u32 {
    u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap())
}

fn integer(value: usize, bytes: &mut Vec<u8>) {
    if value < 127 {
        bytes.push(u8::try_from(value).unwrap());
        return;
    }
    bytes.push(127);
    let mut left = value - 127;
    while left > 127 {
        bytes.push(u8::try_from(left % 128).unwrap() | 128);
        left /= 128;
    }
    bytes.push(u8::try_from(left).unwrap());
}

/// The status, which comes first: an entry of the static table, or digits by its Huffman code.
fn status(block: &[u8]) -> u16 {
    let block = &block[block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
    let known = [200, 204, 206, 304, 400, 404, 500];
    if let 0x88..=0x8e = block[0] {
        return known[usize::from(block[0] - 0x88)];
    }
    assert!(matches!(block[0], 0x48 | 0x08), "the first field is the status: {block:?}");
    let text = &block[2..2 + usize::from(block[1] & 127)];
    if block[1] & 128 == 0 {
        return std::str::from_utf8(text).unwrap().parse().unwrap();
    }
    let mut bits = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut take = |count: usize| bits.by_ref().take(count).fold(0, |value, bit| value << 1 | bit);
    (0..3).fold(0, |status, _| {
        let first = take(5);
        let digit = if first < 3 { first } else { (first << 1 | take(1)) - 0b11001 + 3 };
        status * 10 + digit
    })
}
