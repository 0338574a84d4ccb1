//! A listener of the control thread: a bounded number of connections, each for a bounded time.
//!
//! `observe` and `api` serve by it. Half a head, or an answer that nobody reads, must never keep a descriptor that a
//! visitor needs, nor a place that somebody with a key needs.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{Instant, sleep_until, timeout};

use super::gate::Gate;
use super::room::{Room, Stay};
use crate::config::limits::{ACCEPT_PAUSE, ADMIN_HEAD, ADMIN_LIFE, BUFFER_MOST};
use crate::server::listener::Listening;
use crate::server::socket::Socket;
use crate::upstream::io::UpstreamIo;

/// One connection.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Who is at its other end.
    pub(super) peer: Peer,
    /// When it ends.
    pub(super) ends: Instant,
    /// Its place.
    pub(super) stay: Arc<Stay>,
}

/// Whether who comes over TCP has to show a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// `answer` says when they have.
    Wanted,
    /// Anybody may stay.
    None,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Somebody at this address.
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
}

/// Serves until the process ends, or another has the socket: `answer` makes the response to each request.
pub(super) async fn serve<A, F>(socket: Listening, keys: Keys, mut gate: Gate, answer: A) -> io::Result<()>
where
    A: Fn(Request<Incoming>, Caller) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let socket = Acceptor::of(socket)?;
    let mut room = Room::new();
    while gate.opens().await {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = gate.shuts() => continue,
        };
        match accepted {
            Ok((socket, peer)) => {
                let stay = match (peer, keys) {
                    (Peer::Address(address), Keys::Wanted) => room.enter(address).await,
                    _ => room.admit().await,
                };
                let caller = Caller { peer, ends: Instant::now() + ADMIN_LIFE, stay };
                tokio::spawn(converse(socket, caller, gate.clone(), answer.clone()));
                // What they have sent already is read before the next one may take their place.
                tokio::task::yield_now().await;
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    Ok(())
}

/// One connection, for a bounded time.
async fn converse<A, F>(socket: Socket, caller: Caller, mut gate: Gate, answer: A)
where
    A: Fn(Request<Incoming>, Caller) -> F,
    F: Future<Output = Response<Body>>,
{
    let (stay, ends, _inside) = (Arc::clone(&caller.stay), caller.ends, gate.enter());
    let answer = service_fn(move |request| {
        let response = answer(request, caller.clone());
        async move { Ok::<_, Infallible>(response.await) }
    });
    socket.set_nodelay();
    let io = TokioIo::new(UpstreamIo::new(socket, ADMIN_HEAD));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(ADMIN_HEAD).max_buf_size(BUFFER_MOST);
    let mut connection = pin!(builder.serve_connection(io, answer));
    // How it ends concerns nobody: whoever asked is gone, or has the answer.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stay.is_over() => return,
        () = gate.shuts() => {}
        () = sleep_until(ends) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(ADMIN_HEAD, connection).await;
}

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    fn of(socket: Listening) -> io::Result<Self> {
        match socket {
            Listening::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Listening::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(socket) => {
                let (socket, peer) = socket.accept().await?;
                Ok((socket.into(), Peer::Address(peer.ip().to_canonical())))
            }
            Self::Unix(socket) => {
                let (socket, _) = socket.accept().await?;
                let user = socket.peer_cred()?.uid();
                Ok((Socket::Unix(socket), Peer::User(user)))
            }
        }
    }
}
