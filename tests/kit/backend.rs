//! A scripted backend: a TCP server on a free port, one closure per connection, every request kept.
//!
//! It must never answer anything that its script doesn't say.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use super::message::{Message, Reader};
use super::{DEADLINE, pause, wait_until};

/// A running backend; it ends when dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    seen: Receiver<Message>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
    ended: AtomicBool,
    /// How often a script that waits for a word may go on.
    words: AtomicUsize,
}

/// A whole answer of 200 with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Backend {
    /// Plays `script` on each connection.
    pub(crate) fn start(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        Self::serve(None, script)
    }

    /// Plays `script` on each connection, over TLS.
    pub(crate) fn start_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(Peer) + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(config), script)
    }

    /// Answers every request with the same bytes and keeps its connections.
    pub(crate) fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::by(move |_| answer.clone())
    }

    /// Answers each request by what `answer` makes of it and keeps its connections.
    pub(crate) fn by(answer: impl Fn(&Message) -> String + Send + Sync + 'static) -> Self {
        Self::start(move |mut peer| {
            while let Some(request) = peer.request() {
                peer.send(answer(&request));
            }
        })
    }

    fn serve(tls: Option<Arc<ServerConfig>>, script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (tell, seen) = channel();
        let counts = Arc::new(Counts::default());
        let (script, counted) = (Arc::new(script), Arc::clone(&counts));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if counted.ended.load(SeqCst) {
                    return;
                }
                let number = counted.accepted.fetch_add(1, SeqCst);
                counted.open.fetch_add(1, SeqCst);
                let (tls, script) = (tls.clone(), Arc::clone(&script));
                let (tell, counted) = (tell.clone(), Arc::clone(&counted));
                std::thread::spawn(move || {
                    let open = Open(Arc::clone(&counted));
                    script(Peer::new(socket, tls, number, tell, counted));
                    drop(open);
                });
            }
        });
        Self { address, scheme, seen, counts }
    }

    /// Its URL for a configuration.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The requests since the last look.
    pub(crate) fn seen(&self) -> Vec<Message> {
        self.seen.try_iter().collect()
    }

    /// Waits for the next request.
    pub(crate) fn next(&self) -> Message {
        self.seen.recv_timeout(DEADLINE).expect("a request reaches the backend")
    }

    /// Lets one script go on that waits for it in [`Peer::await_word`].
    pub(crate) fn go_on(&self) {
        self.counts.words.fetch_add(1, SeqCst);
    }

    /// How many connections were opened to it.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(SeqCst)
    }

    /// How many connections are open now: their scripts haven't ended.
    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.counts.ended.store(true, SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

/// One connection from the proxy.
pub(crate) struct Peer {
    /// Which of the backend's connections this is, from 0.
    pub(crate) number: usize,
    /// The name that was asked for in TLS.
    pub(crate) server_name: Option<String>,
    reader: Reader,
    socket: TcpStream,
    tell: Sender<Message>,
    counts: Arc<Counts>,
}

impl Peer {
    fn new(
        socket: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        number: usize,
        tell: Sender<Message>,
        counts: Arc<Counts>,
    ) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut server_name = None;
        let own = socket.try_clone().unwrap();
        let reader = match tls {
            None => Reader::new(Box::new(socket)),
            Some(config) => {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
                // A handshake that fails shows at the first read.
                while stream.conn.is_handshaking() && stream.conn.complete_io(&mut stream.sock).is_ok() {}
                server_name = stream.conn.server_name().map(str::to_owned);
                Reader::new(Box::new(stream))
            }
        };
        Self { number, server_name, reader, socket: own, tell, counts }
    }

    /// The backend's own address, as it stands in `Host`.
    pub(crate) fn address(&self) -> String {
        self.socket.local_addr().unwrap().to_string()
    }

    /// The next request to its last byte, or as far as it came; nothing at the connection's end.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut request = self.reader.request()?;
        request.connection = self.number;
        // A test that has seen enough doesn't listen any more.
        let _ = self.tell.send(request.clone());
        Some(request)
    }

    /// The next request's head.
    pub(crate) fn head(&mut self) -> Option<Message> {
        let mut request = self.reader.head()?;
        request.connection = self.number;
        let _ = self.tell.send(request.clone());
        Some(request)
    }

    /// The body of the request whose head was read before.
    pub(crate) fn body(&mut self, request: &mut Message) {
        self.reader.request_body(request);
        let _ = self.tell.send(request.clone());
    }

    /// Writes; whether it could is the proxy's choice.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = self.reader.stream.write_all(bytes.as_ref());
        sent.and_then(|()| self.reader.stream.flush()).is_ok()
    }

    /// Writes as much as goes before the first pause of `patience`; says how many bytes that was.
    pub(crate) fn send_until_stalled(&mut self, most: usize, patience: Duration) -> usize {
        self.reader.send_until_stalled(&self.socket, most, patience)
    }

    /// Reads once and forgets it; says how many bytes came.
    pub(crate) fn discard(&mut self) -> usize {
        self.reader.discard()
    }

    /// The next `length` bytes, fewer where the connection ends before.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        self.reader.take(length)
    }

    /// Whether nothing comes for `time`, nor does the connection end.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        self.reader.is_silent_for(&self.socket, time)
    }

    /// Sends everything back that comes, to the end.
    pub(crate) fn echo(&mut self) {
        loop {
            let bytes = self.reader.take_some();
            if bytes.is_empty() || !self.send(bytes) {
                return;
            }
        }
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Says that no more bytes will come, and goes on reading.
    pub(crate) fn half_close(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Waits, without a word, until the proxy ends the connection.
    pub(crate) fn hang(&mut self) {
        self.reader.rest();
    }

    /// Waits for [`Backend::go_on`].
    pub(crate) fn await_word(&self) {
        let words = &self.counts.words;
        wait_until("the word to go on", || {
            words.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
        });
    }

    /// Keeps the connection for `time` without reading from it.
    pub(crate) fn stall(&self, time: Duration) {
        pause(time);
    }
}

/// An address that refuses every connection for as long as this lives: bound, and nobody listens.
pub(crate) struct Refusing(Socket);

impl Refusing {
    pub(crate) fn new() -> Self {
        Self(bound())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", address(&self.0))
    }

    /// Refuses no longer: each connection gets `answer` to its first request.
    pub(crate) fn relents(self, answer: String) {
        self.0.listen(16).unwrap();
        let listener = TcpListener::from(self.0);
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let mut bytes = [0; 4096];
                // Who only looks whether anybody is there sends nothing.
                if socket.read(&mut bytes).is_ok_and(|read| read > 0) {
                    let _ = socket.write_all(answer.as_bytes());
                }
            }
        });
    }
}

/// An address that takes no more connections, for as long as this lives: its queue is full.
pub(crate) struct Full {
    socket: Socket,
    _queue: Vec<TcpStream>,
}

impl Full {
    pub(crate) fn new() -> Self {
        let socket = bound();
        socket.listen(0).unwrap();
        let connect = || TcpStream::connect_timeout(&address(&socket), Duration::from_millis(50)).ok();
        let queue = std::iter::from_fn(connect).collect();
        Self { socket, _queue: queue }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", address(&self.socket))
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}
