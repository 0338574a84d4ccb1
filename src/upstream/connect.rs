//! Opens one connection to an endpoint: TCP, TLS where its URL says so, hyper's client on it.
//!
//! `upstream::pool` calls it when it has none to reuse. It must never wait beyond its limit, nor try an
//! address twice.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::config::limits::{HYPER_BUFFER, HYPER_FIELDS};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::io::UpstreamIo;
use crate::upstream::upload::Upload;

/// A fresh connection, ready for its first request.
pub struct Connected {
    /// Sends requests on it.
    pub sender: SendRequest<Upload>,
    /// Where it goes.
    pub address: SocketAddr,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct ConnectLimits {
    /// TCP and TLS together, over all addresses.
    pub connect: Duration,
    /// A write without progress, later.
    pub write: Duration,
    /// Fields of a response.
    pub header_count: usize,
}

/// Connects to the endpoint's addresses in turn, from place `turn` on, until one answers.
///
/// # Errors
/// The last address's error, or that there is no address, or that the time is up.
pub async fn connect(
    endpoint: &Endpoint,
    server_name: Option<&ServerName<'static>>,
    turn: usize,
    limits: ConnectLimits,
) -> Result<Connected, ConnectError> {
    let addresses = endpoint.addresses().to_vec();
    let deadline = Instant::now() + limits.connect;
    let mut last = ConnectError::Unresolved;
    for nth in 0..addresses.len() {
        let address = addresses[(turn + nth) % addresses.len()];
        // The addresses that are left share the time that is left: a dead one must not use it all up.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - nth).unwrap_or(u32::MAX);
        let attempt = open(address, endpoint.tls.as_ref(), server_name, limits);
        match tokio::time::timeout(share, attempt).await {
            Ok(Ok(sender)) => return Ok(Connected { sender, address }),
            Ok(Err(error)) => last = error,
            Err(_) => last = ConnectError::Timeout,
        }
    }
    Err(last)
}

async fn open(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    server_name: Option<&ServerName<'static>>,
    limits: ConnectLimits,
) -> Result<SendRequest<Upload>, ConnectError> {
    let socket = TcpStream::connect(address).await.map_err(ConnectError::Tcp)?;
    // Small writes are ours to join, not the kernel's to delay. A socket that refuses is dead and says so at
    // the write.
    let _ = socket.set_nodelay(true);
    match (tls, server_name) {
        (Some(config), Some(name)) => {
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name.clone(), socket).await.map_err(ConnectError::Tls)?;
            handshake(stream, limits).await
        }
        (Some(_), None) => Err(ConnectError::Tls(io::ErrorKind::InvalidInput.into())),
        (None, _) => handshake(socket, limits).await,
    }
}

async fn handshake<S>(socket: S, limits: ConnectLimits) -> Result<SendRequest<Upload>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(UpstreamIo::new(socket, limits.write));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HYPER_BUFFER);
    if limits.header_count > HYPER_FIELDS {
        builder.max_headers(limits.header_count);
    }
    let made = builder.handshake(io).await;
    let (sender, connection) = made.map_err(|error| ConnectError::Tcp(io::Error::other(error)))?;
    tokio::task::spawn_local(async move {
        // A connection that becomes a tunnel leaves this task with its 101.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    Ok(sender)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The backend's name has no address yet.
    #[error("the backend's name has not been resolved")]
    Unresolved,
    /// Refused, unreachable, no descriptors left.
    #[error("can't connect: {0}")]
    Tcp(#[source] io::Error),
    /// A certificate that isn't believed, a protocol that isn't shared, a handshake cut short.
    #[error("TLS failed: {0}")]
    Tls(#[source] io::Error),
    /// Not within the backend's connect timeout.
    #[error("no connection within the connect timeout")]
    Timeout,
}
