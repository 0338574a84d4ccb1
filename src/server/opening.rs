//! The begin of a connection, before its first request: PROXY header, TLS handshake, which version of HTTP.
//!
//! `server::connection` awaits it, with TLS within a deadline. It must never lose a byte that it read, nor believe a
//! PROXY header of a peer that isn't trusted.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::limits::HEAD_READ;
use crate::proxy::worker::Worker;
use crate::server::proxy_protocol::{self, Header};
use crate::server::socket::{Socket, Stream};
use crate::telemetry::metrics::RefusedConnection;
use crate::tls::challenges::ACME_TLS;
use crate::tls::serving::H2;
use crate::upstream::prefixed::Prefixed;

/// What is asked of the connections of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: bool,
}

/// A connection that is ready for its first request.
#[derive(Debug)]
pub struct Opened {
    /// Who the visitor is: the peer, or whom its PROXY header named.
    pub peer: SocketAddr,
    /// What is spoken.
    pub spoken: Spoken,
}

/// What is spoken on a connection.
#[derive(Debug)]
pub enum Spoken {
    /// HTTP/1, of which these bytes have been read.
    Http1(Stream, BytesMut),
    /// HTTP/2 in the clear, by prior knowledge (RFC 9113 section 3.3).
    Http2(Prefixed<Socket>),
    /// HTTP/2 over TLS, chosen by ALPN.
    Http2Tls(Box<TlsStream<Prefixed<Socket>>>),
}

/// Opens a connection.
///
/// # Errors
/// Why it ends before its first request; nothing where the visitor left, which is nobody's fault.
pub async fn open(
    worker: &Rc<Worker>,
    mut socket: Socket,
    peer: SocketAddr,
    manner: Manner,
) -> Result<Opened, Option<RefusedConnection>> {
    let mut read = BytesMut::new();
    let patience = worker.snapshot().config.timeouts.request_head;
    let peer = match manner.proxy_protocol {
        true => match timeout(patience, introduced(worker, &mut socket, peer, &mut read)).await {
            Ok(peer) => peer?,
            Err(_) => return Err(Some(RefusedConnection::ProxyHeader).filter(|_| !read.is_empty())),
        },
        false => peer,
    };
    let spoken = match manner.tls {
        true => secured(worker, Prefixed::new(read.freeze(), socket)).await?,
        false => in_the_clear(socket, read, Instant::now() + patience).await.map_err(|_| None)?,
    };
    Ok(Opened { peer, spoken })
}

/// Who the visitor is by the PROXY header, which is taken out of what is read.
async fn introduced(
    worker: &Worker,
    socket: &mut Socket,
    peer: SocketAddr,
    read: &mut BytesMut,
) -> Result<SocketAddr, Option<RefusedConnection>> {
    if !worker.snapshot().config.forwarded.names(peer.ip()) {
        return Err(Some(RefusedConnection::ProxyPeer));
    }
    loop {
        match proxy_protocol::read(read).map_err(|_| Some(RefusedConnection::ProxyHeader))? {
            Header::Whole { length, source } => {
                read.advance(length);
                return Ok(source.unwrap_or(peer));
            }
            Header::More => {}
        }
        read.reserve(proxy_protocol::LONGEST);
        if socket.read_buf(read).await.map_err(|_| None)? == 0 {
            // Load balancers look whether we listen, and say nothing.
            return Err(Some(RefusedConnection::ProxyHeader).filter(|_| !read.is_empty()));
        }
    }
}

async fn secured(worker: &Worker, socket: Prefixed<Socket>) -> Result<Spoken, Option<RefusedConnection>> {
    let acceptor = TlsAcceptor::from(worker.snapshot().tls.clone());
    match acceptor.accept(socket).await {
        Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(H2) => {
            Ok(Spoken::Http2Tls(Box::new(stream)))
        }
        // A certificate authority has seen its proof, and says no more (RFC 8737 section 3).
        Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) => Err(None),
        Ok(stream) => Ok(Spoken::Http1(Stream::Tls(Box::new(stream)), BytesMut::new())),
        // The visitor left, or was never one: a port scan, a load balancer's look.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(None),
        Err(error) => {
            tracing::debug!(%error, "TLS handshake failed");
            Err(Some(RefusedConnection::TlsFailed))
        }
    }
}

/// The first bytes tell HTTP/2 from HTTP/1, whose methods don't begin so. Who says less than that until `due` hears of
/// it in HTTP/1.
async fn in_the_clear(mut socket: Socket, mut read: BytesMut, due: Instant) -> io::Result<Spoken> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    loop {
        let seen = read.len().min(PREFACE.len());
        if read[..seen] != PREFACE[..seen] {
            return Ok(Spoken::Http1(Stream::Clear(socket), read));
        }
        if seen == PREFACE.len() {
            return Ok(Spoken::Http2(Prefixed::new(read.freeze(), socket)));
        }
        let reading = async {
            // Who connects ahead of need, as browsers do, costs no buffer.
            socket.readable().await?;
            read.reserve(HEAD_READ);
            socket.read_buf(&mut read).await
        };
        match timeout_at(due, reading).await {
            Ok(Err(error)) => return Err(error),
            Ok(Ok(1..)) => {}
            Err(late) if read.is_empty() => return Err(late.into()),
            Ok(Ok(0)) | Err(_) => return Ok(Spoken::Http1(Stream::Clear(socket), read)),
        }
    }
}
