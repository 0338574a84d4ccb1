//! A visitor's connection: raw bytes out, responses in.
//!
//! It must never tidy up what a test wants to send.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use super::DEADLINE;
use super::message::{Message, Reader};

/// One connection to the proxy.
pub(crate) struct Visitor {
    reader: Reader,
    /// The socket itself.
    pub(crate) socket: TcpStream,
}

/// What a handshake came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The proxy's certificate, in DER; of a resumed session that of the first.
    pub(crate) certificate: Option<Vec<u8>>,
    /// Whether an earlier session went on.
    pub(crate) resumed: bool,
}

impl Visitor {
    /// Connects to `address`.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).expect("the proxy accepts"))
    }

    /// Connects to `address` with room for a few packets only, so that the kernel keeps little of what isn't read.
    pub(crate) fn connect_narrowly(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_tcp_mss(1400).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&address.into()).expect("the proxy accepts");
        Self::on(socket.into())
    }

    fn on(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { reader: Reader::new(Box::new(socket.try_clone().unwrap())), socket }
    }

    /// Connects to `address` and shakes hands for `name`.
    pub(crate) fn over_tls(
        address: SocketAddr,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<(Self, Handshake)> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        let name = ServerName::try_from(name.to_owned()).expect("it is a name");
        let mut session = ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let handshake = Handshake {
            certificate: session.peer_certificates().and_then(|chain| Some(chain.first()?.to_vec())),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        let reader = Reader::new(Box::new(StreamOwned::new(session, socket.try_clone()?)));
        Ok((Self { reader, socket }, handshake))
    }

    /// Writes; says whether all of it could be.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Writes as much as goes before the first pause of `patience`; says how many bytes that was.
    pub(crate) fn send_until_stalled(&mut self, most: usize, patience: Duration) -> usize {
        self.reader.send_until_stalled(&self.socket, most, patience)
    }

    /// All that comes until the connection's end, or how it broke.
    pub(crate) fn try_rest(&mut self) -> io::Result<String> {
        let mut rest = Vec::new();
        self.reader.stream.read_to_end(&mut rest)?;
        Ok(String::from_utf8_lossy(&rest).into_owned())
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

    /// The same, where one comes before the connection's end.
    pub(crate) fn try_response_to(&mut self, method: &str) -> Option<Message> {
        self.reader.response(method)
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

    /// The next `length` bytes, fewer where the connection ends before.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        self.reader.take(length)
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
        self.reader.is_silent_for(&self.socket, time)
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
