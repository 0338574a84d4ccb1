//! Listening sockets: opened once, by address, before anything is served, so that a bad address fails at
//! start.
//!
//! `app` opens them; each worker accepts from its own duplicate of the same socket, so that no connection
//! waits in a queue that nobody reads. It must never share an address with another process silently.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::limits::BACKLOG;
use crate::server::opening::Manner;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    /// Its address, the port filled in where the configuration said 0.
    pub address: SocketAddr,
    /// Its name in metrics: that address.
    pub label: String,
    /// How its connections begin.
    pub manner: Manner,
    socket: TcpListener,
}

impl Listener {
    /// Listens on `address`.
    ///
    /// # Errors
    /// Names the address and what the machine said.
    pub fn bind(address: SocketAddr, manner: Manner) -> Result<Self, BindError> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            // For a restart while old connections linger; a second listener on the address still fails.
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(false)?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
            let socket = TcpListener::from(socket);
            Ok((socket.local_addr()?, socket))
        };
        let (bound, socket) = bind().map_err(|source| BindError { address, source })?;
        Ok(Self { address: bound, label: bound.to_string(), manner, socket })
    }

    /// Another handle of the same socket, with the same queue.
    ///
    /// # Errors
    /// When no descriptors are left.
    pub fn duplicate(&self) -> Result<Self, BindError> {
        let address = self.address;
        let socket = self.socket.try_clone().map_err(|source| BindError { address, source })?;
        Ok(Self { address, label: self.label.clone(), manner: self.manner, socket })
    }

    /// The socket itself.
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }
}

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {source}{}", remedy(source))]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has this address: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose another"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine doesn't have this address: use one of its own, or 0.0.0.0"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_fails_with_its_remedy() {
        let plain = Manner { tls: false, proxy_protocol: false };
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), plain).unwrap();
        let error = Listener::bind(first.address, plain).unwrap_err().to_string();
        assert!(error.contains(&first.address.to_string()) && error.contains("another port"), "{error}");
    }
}
