//! A backend that does one thing wrong, out of a closed list, with each request for [`FAULT`]; others it answers well.
//!
//! It must never fail by chance, nor in two ways at once: what the proxy makes of it has to have one cause.

use std::time::Duration;

use tempfile::TempDir;

use super::backend::{Full, Refusing};
use super::certificates::Authority;
use super::message::Message;
use super::{Backend, Peer, ok, pause};

/// The target whose requests meet the fault.
pub(crate) const FAULT: &str = "/fault";

/// The body of an answer that comes whole; of one that doesn't, its beginning.
pub(crate) const BODY: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

/// Bytes of the head before it.
pub(crate) const HEAD: usize = "HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n".len();

/// What a backend does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It refuses connections.
    Refuse,
    /// It takes no connection.
    Full,
    /// Its certificate isn't to be believed.
    Unbelieved,
    /// It speaks no TLS, though its URL says so.
    NoTls,
    /// It takes the connection of TLS, and never shakes hands.
    TlsHang,
    /// It reads so many bytes of the request and resets the connection.
    ResetRequest(usize),
    /// It reads the request and closes.
    Close,
    /// It reads the request, says that it will write nothing, and stays.
    HalfClose,
    /// It reads the request and never answers.
    Hang,
    /// It reads nothing, and never answers.
    HangUnread,
    /// It sends so many bytes of the answer and resets the connection.
    ResetAnswer(usize),
    /// It sends so many bytes of the answer and closes.
    CloseAnswer(usize),
    /// … and stalls.
    StallAnswer(usize),
    /// It sends a byte of the head now and then, for ever.
    DripHead,
    /// It sends a byte of the body now and then, for ever.
    DripBody,
    /// It answers in bytes that aren't HTTP.
    Garbage,
    /// Its answer's head has no end.
    HugeHead,
    /// It sends informational responses without an end.
    Storm,
    /// Its chunks turn into garbage.
    BadChunks,
    /// It ends its body, of no known length, by a reset.
    ResetUnframed,
    /// It ends its body, of no known length, without TLS's own end.
    TlsCut,
    /// It sends more than its length says.
    Long,
    /// It answers, and then answers again.
    Twice,
    /// It answers without having read the body, and closes.
    Early,
    /// It closes after each answer and doesn't say so.
    CloseSilently,
    /// It says that it closes after each answer, and does.
    NoKeepAlive,
    /// It ends its side after each answer, and stays.
    HalfCloseAfter,
}

/// A backend with a fault.
pub(crate) struct Faulty {
    url: String,
    keys: String,
    plays: Plays,
    _directory: TempDir,
}

enum Plays {
    Script(Backend),
    Refusing(#[allow(dead_code, reason = "held, that the address stays its own")] Refusing),
    Full(#[allow(dead_code, reason = "likewise")] Full),
}

impl Faulty {
    pub(crate) fn start(fault: Fault) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let ca_file = format!("ca_file = \"{}\"", authority.write(directory.path()).display());
        let script = move |peer: Peer| play(fault, peer);
        let over_tls = |by: &Authority| Backend::start_tls(by.server(&["127.0.0.1"]), script);
        let plays = match fault {
            Fault::Refuse => Plays::Refusing(Refusing::new()),
            Fault::Full => Plays::Full(Full::new()),
            Fault::Unbelieved => Plays::Script(over_tls(&Authority::new())),
            Fault::TlsCut => Plays::Script(over_tls(&authority)),
            _ => Plays::Script(Backend::start(script)),
        };
        let url = match &plays {
            Plays::Refusing(refusing) => refusing.url(),
            Plays::Full(full) => full.url(),
            Plays::Script(backend) => backend.url(),
        };
        let lies = matches!(fault, Fault::NoTls | Fault::TlsHang);
        let url = if lies { url.replace("http://", "https://") } else { url };
        let keys = if url.starts_with("https://") { ca_file } else { String::new() };
        Self { url, keys, plays, _directory: directory }
    }

    /// Its URL for a configuration.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its further keys there.
    pub(crate) fn keys(&self) -> &str {
        &self.keys
    }

    /// The requests that came as far as a head, since the last look.
    pub(crate) fn seen(&self) -> Vec<Message> {
        match &self.plays {
            Plays::Script(backend) => backend.seen(),
            Plays::Refusing(_) | Plays::Full(_) => Vec::new(),
        }
    }

    /// How many connections are open to it.
    pub(crate) fn open(&self) -> usize {
        match &self.plays {
            Plays::Script(backend) => backend.open(),
            Plays::Refusing(_) | Plays::Full(_) => 0,
        }
    }
}

impl Fault {
    /// Whether it is in the way of every request, not only of those for [`FAULT`].
    pub(crate) fn is_of_all(self) -> bool {
        let unreachable =
            matches!(self, Self::Refuse | Self::Full | Self::Unbelieved | Self::NoTls | Self::TlsHang);
        unreachable || matches!(self, Self::ResetRequest(_) | Self::HangUnread)
    }

    /// What it sends, and what it does then.
    fn answer(self, head_only: bool) -> (String, Then) {
        let body = if head_only { "" } else { BODY };
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", BODY.len());
        let cut = |length: usize| whole[..length.min(whole.len())].to_owned();
        let unframed = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        let none = String::new;
        match self {
            Self::Close => (none(), Then::Close),
            Self::HalfClose => (none(), Then::HalfClose),
            Self::ResetAnswer(length) => (cut(length), Then::Reset),
            Self::CloseAnswer(length) => (cut(length), Then::Close),
            // Of an answer that is whole with its head there is nothing left to stall.
            Self::StallAnswer(length) if length >= whole.len() => (whole, Then::GoOn),
            Self::StallAnswer(length) => (cut(length), Then::Hang),
            Self::DripHead => ("HTTP/1.1 200 OK\r\nX-Drip: ".to_owned(), Then::Drip("x")),
            Self::DripBody if head_only => (chunked, Then::GoOn),
            Self::DripBody => (chunked, Then::Drip("1\r\nx\r\n")),
            Self::Garbage => ("\x15\x03\x01\0\x02\x02\x46 nothing of HTTP\r\n\r\n".to_owned(), Then::Hang),
            Self::HugeHead => {
                ("HTTP/1.1 200 OK\r\n".to_owned(), Then::Endless("X-More: and more, and more\r\n"))
            }
            Self::Storm => (none(), Then::Endless("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")),
            Self::BadChunks if head_only => (chunked, Then::GoOn),
            Self::BadChunks => (format!("{chunked}{:x}\r\n{BODY}\r\nzzz\r\n", BODY.len()), Then::Hang),
            Self::ResetUnframed => (unframed, Then::Reset),
            Self::TlsCut => (unframed, Then::Close),
            Self::Long => (format!("{whole}and a byte too many"), Then::GoOn),
            Self::Twice => (format!("{whole}{}", ok("unasked")), Then::GoOn),
            Self::Early | Self::CloseSilently => (whole, Then::Close),
            Self::NoKeepAlive => (whole.replacen("\r\n", "\r\nConnection: close\r\n", 1), Then::Close),
            Self::HalfCloseAfter => (whole, Then::HalfClose),
            Self::Hang | Self::HangUnread | Self::NoTls | Self::TlsHang => (none(), Then::Hang),
            Self::Refuse | Self::Full | Self::Unbelieved | Self::ResetRequest(_) => (none(), Then::Close),
        }
    }
}

/// What follows what was sent.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// The next request.
    GoOn,
    Close,
    Reset,
    /// Nothing, until the proxy has enough.
    Hang,
    /// An end of this side; the other is read on.
    HalfClose,
    /// This, again and again, so slowly that each is progress and all are none.
    Drip(&'static str),
    /// This, as fast as it is taken.
    Endless(&'static str),
}

/// One connection.
fn play(fault: Fault, mut peer: Peer) {
    match fault {
        Fault::NoTls => drop(peer.send("HTTP/1.1 400 Bad Request\r\n\r\n")),
        Fault::ResetRequest(length) => {
            peer.take(length);
            return peer.reset();
        }
        // For longer than the proxy waits; what it does then can't be seen without reading.
        Fault::HangUnread => peer.stall(Duration::from_secs(2)),
        _ => {}
    }
    let is_of_all = fault.is_of_all();
    while let Some(request) = read(fault, &mut peer) {
        let (bytes, then) = match is_of_all || request.target() == FAULT {
            true => fault.answer(request.line().starts_with("HEAD ")),
            false => (ok("fine"), Then::GoOn),
        };
        peer.send(bytes);
        match then {
            Then::GoOn => {}
            Then::Close => return,
            Then::Reset => return peer.reset(),
            Then::Hang => return peer.hang(),
            Then::HalfClose => {
                peer.half_close();
                return peer.hang();
            }
            Then::Drip(drop) => {
                while peer.send(drop) {
                    pause(Duration::from_millis(20));
                }
                return;
            }
            Then::Endless(more) => {
                while peer.send(more.repeat(20)) {}
                return;
            }
        }
    }
}

fn read(fault: Fault, peer: &mut Peer) -> Option<Message> {
    match fault {
        Fault::NoTls | Fault::TlsHang | Fault::HangUnread => {
            peer.hang();
            None
        }
        Fault::Early => peer.head(),
        _ => peer.request(),
    }
}
