//! A visitor's connection: raw bytes out, responses in.
//!
//! It must never tidy up what a test wants to send.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::DEADLINE;
use super::message::{Message, Reader};

/// One connection to the proxy.
pub(crate) struct Visitor {
    reader: Reader,
    /// The socket itself.
    pub(crate) socket: TcpStream,
}

impl Visitor {
    /// Connects to `address`.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the proxy accepts");
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { reader: Reader::new(Box::new(socket.try_clone().unwrap())), socket }
    }

    /// Writes; says whether all of it could be.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Writes as much as goes before the first pause of `patience`; says how many bytes that was.
    pub(crate) fn send_until_stalled(&mut self, most: usize, patience: Duration) -> usize {
        self.reader.send_until_stalled(&self.socket, most, patience)
    }

    /// Reads once and forgets it; says how many bytes came.
    pub(crate) fn discard(&mut self) -> usize {
        self.reader.discard()
    }

    /// Reads once and says whether `text` is among what came and isn't taken yet.
    pub(crate) fn has_received(&mut self, text: &str) -> bool {
        String::from_utf8_lossy(self.reader.pending()).contains(text)
            || self.reader.fill() > 0 && String::from_utf8_lossy(self.reader.pending()).contains(text)
    }

    /// The next response, to a GET or whatever has a body in its answer.
    pub(crate) fn response(&mut self) -> Message {
        self.response_to("GET")
    }

    /// The next response, to a request of `method`.
    pub(crate) fn response_to(&mut self, method: &str) -> Message {
        self.reader.response(method).expect("a response comes before the connection's end")
    }

    /// The next response's head alone.
    pub(crate) fn head(&mut self) -> Message {
        self.reader.head().expect("a response's head comes")
    }

    /// Sends a GET of `path` on this connection and reads its answer.
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: www.example.com\r\n\r\n"));
        self.response()
    }

    /// Everything that comes until the proxy closes.
    pub(crate) fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.reader.rest()).into_owned()
    }

    /// Waits for the proxy to close; whether it did so without another byte and without a reset.
    pub(crate) fn is_closed_cleanly(&mut self) -> bool {
        self.reader.rest().is_empty() && !self.reader.was_reset()
    }

    /// Whether nothing comes for `time`, nor does the connection end.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        if !self.reader.pending().is_empty() {
            return false;
        }
        self.socket.set_read_timeout(Some(time)).unwrap();
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        peeked.is_err()
    }

    /// Says that no more bytes will come.
    pub(crate) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
