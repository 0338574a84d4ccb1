//! Listening sockets: opened once, by address, before anything is served, so that a bad address fails at
//! start.
//!
//! `app` opens them; each worker accepts from its own duplicate of the same socket, so that no connection
//! waits in a queue that nobody reads. It must never share an address with another process silently.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::limits::BACKLOG;
use crate::config::limits::sockets::UNSENT_AT_FIRST;
use crate::server::opening::Manner;
use crate::upstream::unsent::bound_unsent;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens, the port filled in where the configuration said 0.
    pub place: Place,
    /// Where the configuration says that it listens, if that is an address.
    pub asked: Option<SocketAddr>,
    /// How its connections begin.
    pub manner: Manner,
    socket: Listening,
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At an address.
    Tcp(SocketAddr),
    /// At a path.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that listens, of either kind.
#[derive(Debug)]
pub enum Listening {
    /// Of TCP.
    Tcp(TcpListener),
    /// Of a path.
    Unix(UnixListener),
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
            // Before it listens: every connection has it from its listener, and none costs a call.
            bound_unsent(&socket, UNSENT_AT_FIRST);
            socket.bind(&address.into())?;
            socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
            let socket = TcpListener::from(socket);
            Ok((socket.local_addr()?, socket))
        };
        let (bound, socket) = bind().map_err(|source| BindError { place: Place::Tcp(address), source })?;
        Ok(Self { place: Place::Tcp(bound), asked: Some(address), manner, socket: Listening::Tcp(socket) })
    }

    /// Goes on with a socket that listens already: where the configuration says that is `asked`.
    ///
    /// # Errors
    /// When it isn't what it should be.
    pub fn adopt(socket: Listening, asked: SocketAddr, manner: Manner) -> Result<Self, BindError> {
        if let Listening::Tcp(socket) = &socket {
            bound_unsent(socket, UNSENT_AT_FIRST);
        }
        let bound = match &socket {
            Listening::Tcp(socket) => socket.set_nonblocking(true).and_then(|()| socket.local_addr()),
            Listening::Unix(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        let bound = bound.map_err(|source| BindError { place: Place::Tcp(asked), source })?;
        Ok(Self { place: Place::Tcp(bound), asked: Some(asked), manner, socket })
    }

    /// Goes on with a socket that listens at `path` already.
    pub fn adopt_unix(socket: UnixListener, path: &Path, manner: Manner) -> Self {
        Self { place: Place::Unix(path.to_owned()), asked: None, manner, socket: Listening::Unix(socket) }
    }

    /// Listens at `path`. A socket that nobody listens at any more is taken over; anything else there stays.
    ///
    /// # Errors
    /// Names the path and what the machine said.
    pub fn bind_unix(path: &Path, manner: Manner) -> Result<Self, BindError> {
        let bind = || {
            let abandoned = UnixStream::connect(path).err().map(|error| error.kind());
            if abandoned == Some(io::ErrorKind::ConnectionRefused) && is_socket(path) {
                fs::remove_file(path)?;
            }
            let socket = UnixListener::bind(path)?;
            // Whoever stands in front may be another user; the directory says who gets here.
            fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let place = Place::Unix(path.to_owned());
        match bind() {
            Ok(socket) => Ok(Self { place, asked: None, manner, socket: Listening::Unix(socket) }),
            Err(source) => Err(BindError { place, source }),
        }
    }

    /// Another handle of the same socket, with the same queue.
    ///
    /// # Errors
    /// When no descriptors are left.
    pub fn duplicate(&self) -> Result<Self, BindError> {
        let socket = match &self.socket {
            Listening::Tcp(socket) => socket.try_clone().map(Listening::Tcp),
            Listening::Unix(socket) => socket.try_clone().map(Listening::Unix),
        };
        let place = self.place.clone();
        match socket {
            Ok(socket) => Ok(Self { place, asked: self.asked, manner: self.manner, socket }),
            Err(source) => Err(BindError { place, source }),
        }
    }

    /// Its address, if it is of TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
        }
    }

    /// The socket itself.
    pub fn into_socket(self) -> Listening {
        self.socket
    }
}

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {place}: {source}{}", remedy(source))]
pub struct BindError {
    place: Place,
    source: io::Error,
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
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
        let error = Listener::bind(first.address().unwrap(), plain).unwrap_err().to_string();
        assert!(error.contains(&first.place.to_string()) && error.contains("another port"), "{error}");
    }

    /// Seen: 4000 visitors who didn't read had the kernel hold 1.8 GB of answers, and others waited for two seconds.
    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_takes_no_more_for_a_visitor_than_it_can_soon_send() {
        let plain = Manner { tls: false, proxy_protocol: false };
        let address = "127.0.0.1:0".parse().unwrap();
        let bound = Listener::bind(address, plain).unwrap();
        let ours = Listening::Tcp(TcpListener::bind(address).unwrap());
        for listener in [bound, Listener::adopt(ours, address, plain).unwrap()] {
            let visitor = std::net::TcpStream::connect(listener.address().unwrap()).unwrap();
            let Listening::Tcp(socket) = listener.into_socket() else { unreachable!("it is of TCP") };
            socket.set_nonblocking(false).unwrap();
            let (accepted, _) = socket.accept().unwrap();
            assert_eq!(socket2::SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), UNSENT_AT_FIRST);
            drop(visitor);
        }
    }

    #[test]
    fn a_path_is_taken_over_only_from_a_socket_that_nobody_listens_at() {
        let plain = Manner { tls: false, proxy_protocol: false };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let first = Listener::bind_unix(&path, plain).unwrap();
        assert!(Listener::bind_unix(&path, plain).is_err(), "somebody listens");
        drop(first);
        assert!(Listener::bind_unix(&path, plain).is_ok(), "nobody does any more");
        let file = directory.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(Listener::bind_unix(&file, plain).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
}
