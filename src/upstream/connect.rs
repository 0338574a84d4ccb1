//! Opens one connection to an endpoint: a socket, TLS where its URL says so, HTTP on it.
//!
//! `upstream::pool` calls it when it has none to reuse or to share. It must never wait beyond its limit, nor try an
//! address twice.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::limits::sockets::UNSENT;
use crate::config::model::{EndpointUrl, Http2};
use crate::upstream::descriptors::{is_shortage, leaves_reserve};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::http1::Connection;
use crate::upstream::http2::{self, Driven};
use crate::upstream::io::UpstreamIo;
use crate::upstream::socket::Socket;
use crate::upstream::unsent::bound_unsent;
use crate::upstream::{dial, tls};

/// A fresh connection, ready for its first request.
pub struct Connected {
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where it goes; a unix socket has no address.
    pub address: Option<SocketAddr>,
}

/// What is spoken on a connection, with what sends requests on it.
pub enum Protocol {
    /// One request at a time.
    Http1(Box<Connection>),
    /// Many at a time.
    Http2(Driven),
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct ConnectLimits {
    /// The socket, TLS and HTTP/2's first settings together, over all addresses.
    pub connect: Duration,
    /// A write without progress, later.
    pub write: Duration,
    /// Fields of a response.
    pub header_count: usize,
}

/// Connects to one of the endpoint's addresses, from place `turn` on, and speaks what `http2` says.
///
/// # Errors
/// The last address's error, or that there is no address, or that the time is up.
pub async fn connect(
    endpoint: &Endpoint,
    server_name: Option<&ServerName<'static>>,
    turn: usize,
    http2: Http2,
    limits: ConnectLimits,
) -> Result<Connected, ConnectError> {
    let deadline = Instant::now() + limits.connect;
    if let EndpointUrl::Unix(path) = &endpoint.url {
        let attempt = open_unix(path, http2, limits);
        let protocol = timeout_at(deadline, attempt).await.map_err(|_| ConnectError::Timeout)??;
        return Ok(Connected { protocol, address: None });
    }
    let mut candidates = dial::order(&endpoint.addresses(), turn);
    let shunned = &endpoint.shunned;
    shunned.put_last(&mut candidates, Instant::now().into_std());
    loop {
        let (socket, address) = dial::race(&mut candidates, deadline, shunned).await?;
        // The addresses that are left share the time that is left: one that only listens must not use it all up.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(candidates.len() + 1).unwrap_or(u32::MAX);
        let outcome = timeout(share, shake_hands(socket, endpoint, server_name, http2, limits)).await;
        match outcome.unwrap_or(Err(ConnectError::Timeout)) {
            Ok(protocol) => {
                shunned.forget(address);
                return Ok(Connected { protocol, address: Some(address) });
            }
            Err(error) if candidates.is_empty() => return Err(error),
            Err(_) => shunned.note(address, Instant::now().into_std()),
        }
    }
}

/// Why there is no connection. Several requests may wait for the same one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The backend's name has no address yet.
    #[error("the backend's name has not been resolved")]
    Unresolved,
    /// This machine has no descriptor for it, or none but those that are kept for others.
    #[error("no descriptor left: raise `ulimit -n`, or LimitNOFILE of the unit")]
    Descriptors,
    /// Refused, unreachable.
    #[error("can't connect: {0}")]
    Tcp(#[source] Arc<io::Error>),
    /// A certificate that isn't believed, a protocol that isn't shared, a handshake cut short.
    #[error("TLS failed: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// It doesn't speak what `http2` of the backend asks for.
    #[error("it doesn't speak the version of HTTP that `http2` asks for")]
    Alpn,
    /// Not within the backend's connect timeout.
    #[error("no connection within the connect timeout")]
    Timeout,
}

impl ConnectError {
    /// What an error of the socket means.
    pub fn of_tcp(error: io::Error) -> Self {
        if is_shortage(&error) { Self::Descriptors } else { Self::Tcp(Arc::new(error)) }
    }

    /// Whether this machine is to blame: it has no descriptor, port or memory left.
    pub fn is_our_own(&self) -> bool {
        const OURS: [Errno; 3] = [Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
        match self {
            Self::Descriptors => true,
            Self::Tcp(error) => {
                error.raw_os_error().is_some_and(|code| OURS.iter().any(|ours| ours.raw_os_error() == code))
            }
            Self::Unresolved | Self::Tls(_) | Self::Alpn | Self::Timeout => false,
        }
    }

    fn of_tls(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => Self::Alpn,
            _ => Self::Tls(Arc::new(error)),
        }
    }
}

async fn open_unix(path: &Path, http2: Http2, limits: ConnectLimits) -> Result<Protocol, ConnectError> {
    let socket = UnixStream::connect(path).await.map_err(ConnectError::of_tcp)?;
    leaves_reserve(&socket).map_err(ConnectError::of_tcp)?;
    in_clear(Socket::Unix(socket), http2, limits).await
}

async fn shake_hands(
    socket: TcpStream,
    endpoint: &Endpoint,
    server_name: Option<&ServerName<'static>>,
    http2: Http2,
    limits: ConnectLimits,
) -> Result<Protocol, ConnectError> {
    // Small writes are ours to join, not the kernel's to delay. A socket that refuses is dead and says so at
    // the write.
    let _ = socket.set_nodelay(true);
    bound_unsent(&socket, UNSENT);
    match (&endpoint.tls, server_name) {
        (Some(config), Some(name)) => {
            let connector = TlsConnector::from(Arc::clone(config));
            let shaken = if http2 == endpoint.http2 {
                connector.connect(name.clone(), socket).await
            } else {
                connector.with_alpn(tls::protocols(http2)).connect(name.clone(), socket).await
            };
            over_tls(Box::new(shaken.map_err(ConnectError::of_tls)?), http2, limits).await
        }
        (Some(_), None) => Err(ConnectError::of_tls(io::ErrorKind::InvalidInput.into())),
        (None, _) => in_clear(Socket::Tcp(socket), http2, limits).await,
    }
}

async fn over_tls(
    stream: Box<TlsStream<TcpStream>>,
    http2: Http2,
    limits: ConnectLimits,
) -> Result<Protocol, ConnectError> {
    let chosen = stream.get_ref().1.alpn_protocol() == Some(tls::H2);
    match http2 {
        Http2::Auto | Http2::Always if chosen => http2::handshake(*stream, limits).await.map(Protocol::Http2),
        Http2::Always => Err(ConnectError::Alpn),
        // Whoever knows nothing of ALPN speaks HTTP/1.1.
        Http2::Auto | Http2::Never => Ok(http1(Socket::Tls(stream), limits)),
    }
}

async fn in_clear(socket: Socket, http2: Http2, limits: ConnectLimits) -> Result<Protocol, ConnectError> {
    match http2 {
        Http2::Always => http2::handshake(socket, limits).await.map(Protocol::Http2),
        Http2::Auto | Http2::Never => Ok(http1(socket, limits)),
    }
}

fn http1(socket: Socket, limits: ConnectLimits) -> Protocol {
    let io = UpstreamIo::new(socket, limits.write);
    Protocol::Http1(Box::new(Connection::new(io, limits.header_count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_no_backends_failure() {
        let of = |errno: Errno| ConnectError::of_tcp(io::Error::from(errno));
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL] {
            assert!(of(errno).is_our_own(), "{errno}");
        }
        for errno in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::CONNRESET, Errno::TIMEDOUT] {
            assert!(!of(errno).is_our_own(), "{errno}");
        }
        assert!(!ConnectError::Timeout.is_our_own() && !ConnectError::Unresolved.is_our_own());
    }
}
