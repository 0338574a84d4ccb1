//! Backends with fixed answers: HTTP/1.1 on ports of 127.0.0.1, all of them in one thread on epoll.
//!
//! `serve NAME=PORT …` answers by the path: `/k64` and `/m1` with 64 KiB and 1 MiB, `/head` with the request head that
//! came in, `/count` with the number of requests that came in on this port, anything else with `ok`. `X-Side` says
//! which of them answered. Called by `main`. It must never do more for a request than one read and one write, where
//! these can move it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Bytes that are read at once: a head and a body of 16 KiB.
const ROOM: usize = 24 * 1024;
/// Bytes of a head; a longer one ends its connection.
const HEAD: usize = 16 * 1024;
const EVENTS: usize = 1024;

pub fn serve(words: &[String]) -> Result<(), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let mut backends = words.iter().map(|word| Backend::open(word)).collect::<Result<Vec<_>, _>>()?;
    for (number, backend) in backends.iter_mut().enumerate() {
        poll.registry().register(&mut backend.listener, Token(number), Interest::READABLE)?;
    }
    let mut server = Server { backends, connections: Vec::new(), free: Vec::new(), room: vec![0; ROOM] };
    let mut events = Events::with_capacity(EVENTS);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token().0.checked_sub(server.backends.len()) {
                None => server.accept(event.token().0, &poll)?,
                Some(slot) => server.go_on(slot, event.is_read_closed()),
            }
        }
    }
}

struct Server {
    backends: Vec<Backend>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    room: Vec<u8>,
}

impl Server {
    fn accept(&mut self, number: usize, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match self.backends[number].listener.accept() {
                Ok((stream, _)) => stream,
                // What can't be taken is for the visitor to notice.
                Err(_) => return Ok(()),
            };
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let token = Token(self.backends.len() + slot);
            poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.connections[slot] = Some(Connection::new(stream, number));
        }
    }

    fn go_on(&mut self, slot: usize, at_end: bool) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let backend = &mut self.backends[connection.backend];
        if connection.go_on(backend, &mut self.room, at_end).is_err() {
            self.connections[slot] = None;
            self.free.push(slot);
        }
    }
}

/// One port, and what it answers, ready to be written.
struct Backend {
    listener: TcpListener,
    name: String,
    small: Rc<[u8]>,
    k64: Rc<[u8]>,
    m1: Rc<[u8]>,
    count: u64,
}

impl Backend {
    fn open(word: &str) -> Result<Self, Box<dyn Error>> {
        let (name, port) = word.split_once('=').ok_or("NAME=PORT")?;
        Ok(Self {
            listener: TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?)))?,
            name: name.to_owned(),
            small: answer(name, b"ok\n"),
            k64: answer(name, &vec![b'x'; 64 << 10]),
            m1: answer(name, &vec![b'x'; 1 << 20]),
            count: 0,
        })
    }

    fn answer(&mut self, head: &[u8]) -> Rc<[u8]> {
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if path == b"/count" {
            return answer(&self.name, self.count.to_string().as_bytes());
        }
        self.count += 1;
        match path {
            b"/k64" => Rc::clone(&self.k64),
            b"/m1" => Rc::clone(&self.m1),
            b"/head" => answer(&self.name, head),
            _ => Rc::clone(&self.small),
        }
    }
}

fn answer(name: &str, body: &[u8]) -> Rc<[u8]> {
    let date = "Date: Thu, 01 Jan 2026 00:00:00 GMT";
    let head = format!("HTTP/1.1 200 OK\r\nX-Side: {name}\r\n{date}\r\nContent-Type: text/plain\r\n");
    let mut whole = format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    whole.extend_from_slice(body);
    whole.into()
}

struct Connection {
    stream: TcpStream,
    backend: usize,
    /// The begin of a head whose end hasn't come.
    held: Vec<u8>,
    /// Bytes of the body that haven't come.
    missing: usize,
    /// The answer to what came, once its body is there.
    next: Option<Rc<[u8]>>,
    /// Answers, and how much of the first is written.
    out: VecDeque<Rc<[u8]>>,
    written: usize,
}

impl Connection {
    fn new(stream: TcpStream, backend: usize) -> Self {
        let (held, out) = (Vec::new(), VecDeque::new());
        Self { stream, backend, held, missing: 0, next: None, out, written: 0 }
    }

    /// Reads what is there and writes what can be; an error is the connection's end.
    fn go_on(&mut self, backend: &mut Backend, room: &mut [u8], at_end: bool) -> io::Result<()> {
        loop {
            let got = match self.stream.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.write(),
                Err(error) => return Err(error),
            };
            self.take(&room[..got], backend)?;
            self.write()?;
            // Fewer than would fit were all; what comes later is another event.
            if got < room.len() && !at_end {
                return Ok(());
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], backend: &mut Backend) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.next.is_none() {
                let Some(head) = self.head(&mut bytes)? else { return Ok(()) };
                self.missing = content_length(&head)?;
                self.next = Some(backend.answer(&head));
            }
            let body = self.missing.min(bytes.len());
            bytes = &bytes[body..];
            self.missing -= body;
            if self.missing == 0 {
                self.out.extend(self.next.take());
            }
        }
        Ok(())
    }

    /// The head that is whole with these bytes, which then begin behind it.
    fn head<'a>(&mut self, bytes: &mut &'a [u8]) -> io::Result<Option<Cow<'a, [u8]>>> {
        if self.held.is_empty()
            && let Some(end) = head_end(bytes)
        {
            let (head, rest) = bytes.split_at(end);
            *bytes = rest;
            return Ok(Some(head.into()));
        }
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let Some(end) = head_end(&self.held) else {
            return if self.held.len() > HEAD { Err(io::Error::other("a long head")) } else { Ok(None) };
        };
        *bytes = &bytes[end - before..];
        let mut head = std::mem::take(&mut self.held);
        head.truncate(end);
        Ok(Some(head.into()))
    }

    fn write(&mut self) -> io::Result<()> {
        while let Some(answer) = self.out.front() {
            match self.stream.write(&answer[self.written..]) {
                Ok(wrote) => self.written += wrote,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.written == answer.len() {
                self.written = 0;
                self.out.pop_front();
            }
        }
        Ok(())
    }
}

/// Where the head ends, with its empty line.
fn head_end(bytes: &[u8]) -> Option<usize> {
    // Almost always it is all that there is.
    if bytes.ends_with(b"\r\n\r\n") && bytes.starts_with(b"GET ") {
        return Some(bytes.len());
    }
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The length of the body. One without a length ends the connection: no peer has a reason to send one.
fn content_length(head: &[u8]) -> io::Result<usize> {
    if head.starts_with(b"GET ") {
        return Ok(0);
    }
    let value = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        name.eq_ignore_ascii_case(b"content-length").then(|| &value[1..])
    });
    let length = value.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    length.ok_or_else(|| io::Error::other("a body without a length"))
}
