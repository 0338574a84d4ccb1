//! Listening sockets that were open before this process: of the one before it, or of systemd.
//!
//! `app` asks for them by what the configuration names, and binds what isn't among them. It must never listen at a
//! place that the configuration doesn't name, nor leave a socket open that nobody accepts from.

use std::env;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::server::listener::Listening;
use crate::upgrade::message::{Passed, Place, Purpose};

/// Sockets that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Socket>,
    /// The places of those that were taken.
    adopted: Vec<Place>,
}

/// One of them.
#[derive(Debug)]
struct Socket {
    place: Place,
    /// What it was for, or what systemd calls it.
    name: String,
    /// Systemd opened it: its unit says where, and our configuration may say it otherwise.
    by_unit: bool,
    listening: Listening,
}

impl Inherited {
    /// Those that came with the start of this process (`LISTEN_FDS`, sd_listen_fds(3)).
    pub fn of_systemd() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            sockets.extend(of_descriptor(&mut passed, at, name));
        }
        Self { sockets, adopted: Vec::new() }
    }

    /// Adds one that the process before has passed.
    pub fn push(&mut self, passed: Passed, listening: Listening) {
        let Passed { purpose, place } = passed;
        self.sockets.push(Socket { place, name: purpose.as_str().to_owned(), by_unit: false, listening });
    }

    /// One of TCP that listens where the configuration says `address`: at the very place; or at the same port of all
    /// addresses, where either says so; or by its name, where systemd opened another place under it.
    pub fn tcp(&mut self, purpose: Purpose, address: SocketAddr, named: &[SocketAddr]) -> Option<Listening> {
        let is_named = |socket: &Socket| socket.name == purpose.as_str();
        let at_place = |socket: &Socket| match socket.place {
            // Port 0 is another one for each purpose.
            Place::Tcp { asked, .. } if address.port() == 0 => asked == address && is_named(socket),
            Place::Tcp { asked, bound } => asked == address || bound == address || covers(bound, address),
            Place::Unix { .. } => false,
        };
        let by_name = |socket: &Socket| match socket.place {
            Place::Tcp { bound, .. } => {
                socket.by_unit
                    && is_named(socket)
                    && !named.iter().any(|named| *named == bound || covers(bound, *named))
            }
            Place::Unix { .. } => false,
        };
        self.take(at_place).or_else(|| self.take(by_name))
    }

    /// One that listens at `path`.
    pub fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let taken =
            self.take(|socket| matches!(&socket.place, Place::Unix { path: at, file: None } if at == path));
        self.as_unix(taken)
    }

    /// The admin API's, with its file.
    pub fn admin_socket(&mut self, path: &Path) -> Option<(UnixListener, (u64, u64))> {
        let is_file = |socket: &Socket| match &socket.place {
            Place::Unix { path: at, file } if at == path => *file,
            _ => None,
        };
        let file = self.sockets.iter().find_map(is_file)?;
        let taken = self.take(|socket| is_file(socket).is_some());
        self.as_unix(taken).map(|socket| (socket, file))
    }

    /// The places of those that were taken, and of those that weren't, which close.
    pub fn settle(self) -> (Vec<Place>, Vec<String>) {
        let left = self.sockets.iter().map(|socket| match &socket.place {
            Place::Tcp { bound, .. } => format!("{bound} ({})", socket.name),
            Place::Unix { path, .. } => format!("unix:{} ({})", path.display(), socket.name),
        });
        let left = left.collect();
        (self.adopted, left)
    }

    fn take(&mut self, fits: impl Fn(&Socket) -> bool) -> Option<Listening> {
        let at = self.sockets.iter().position(fits)?;
        let Socket { place, listening, .. } = self.sockets.remove(at);
        self.adopted.push(place);
        Some(listening)
    }

    fn as_unix(&mut self, taken: Option<Listening>) -> Option<UnixListener> {
        match taken? {
            Listening::Unix(socket) => Some(socket),
            Listening::Tcp(_) => None,
        }
    }
}

/// Whether a socket at all addresses hears those who come to `address`, or the other way round: `ListenStream=80` is
/// `[::]:80`, which a configuration calls `0.0.0.0:80`.
fn covers(bound: SocketAddr, address: SocketAddr) -> bool {
    let wild = |address: SocketAddr| address.ip().is_unspecified();
    bound.port() == address.port() && wild(bound) && wild(address) && (bound.is_ipv6() || address.is_ipv4())
}

/// The socket at one of systemd's places, where it is of a kind that we know.
fn of_descriptor(passed: &mut ListenFd, at: usize, name: String) -> Option<Socket> {
    if let Ok(Some(socket)) = passed.take_tcp_listener(at) {
        prepare(&socket)?;
        socket.set_nonblocking(true).ok()?;
        let bound = socket.local_addr().ok()?;
        let place = Place::Tcp { asked: bound, bound };
        return Some(Socket { place, name, by_unit: true, listening: Listening::Tcp(socket) });
    }
    let socket = passed.take_unix_listener(at).ok().flatten()?;
    prepare(&socket)?;
    socket.set_nonblocking(true).ok()?;
    let path = socket.local_addr().ok()?.as_pathname()?.to_owned();
    let place = Place::Unix { path, file: None };
    Some(Socket { place, name, by_unit: true, listening: Listening::Unix(socket) })
}

/// A program that we start must not have it by chance.
fn prepare(socket: &impl std::os::fd::AsFd) -> Option<()> {
    fcntl_setfd(socket, FdFlags::CLOEXEC).ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn of(list: &[(&str, &str, Purpose)]) -> Inherited {
        let mut inherited = Inherited::default();
        for (asked, bound, purpose) in list {
            let place = Place::Tcp { asked: asked.parse().unwrap(), bound: bound.parse().unwrap() };
            let listening = Listening::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
            inherited.push(Passed { purpose: *purpose, place }, listening);
        }
        inherited
    }

    /// Asks for all of them, in the order of the configuration; which were there.
    fn taken(mut inherited: Inherited, wanted: &[(&str, Purpose)]) -> (Vec<bool>, usize) {
        let named: Vec<SocketAddr> = wanted.iter().map(|(address, _)| address.parse().unwrap()).collect();
        let found = wanted
            .iter()
            .zip(&named)
            .map(|((_, purpose), at)| inherited.tcp(*purpose, *at, &named).is_some());
        let found = found.collect();
        (found, inherited.settle().1.len())
    }

    #[test]
    fn a_socket_goes_to_whoever_names_its_place() {
        use Purpose::{Http, Https, Metrics};
        let passed = [
            ("127.0.0.1:0", "127.0.0.1:4001", Http),
            ("127.0.0.1:0", "127.0.0.1:4002", Metrics),
            ("0.0.0.0:443", "0.0.0.0:443", Https),
        ];
        let same = [("127.0.0.1:0", Metrics), ("127.0.0.1:0", Http), ("0.0.0.0:443", Https)];
        assert_eq!(taken(of(&passed), &same), (vec![true; 3], 0));
        assert_eq!(taken(of(&passed), &[("127.0.0.1:0", Https)]), (vec![false], 3), "port 0 is one for each");
        assert_eq!(taken(of(&passed), &[("127.0.0.1:4001", Https)]), (vec![true], 2), "a place is a place");
        assert_eq!(taken(of(&passed), &[("[::1]:443", Https)]), (vec![false], 3), "another place");
        let mut by_unit = of(&passed);
        by_unit.sockets.iter_mut().for_each(|socket| socket.by_unit = true);
        assert_eq!(taken(by_unit, &[("[::1]:443", Https)]), (vec![true], 2), "by its name");
    }

    #[test]
    fn all_addresses_are_all_addresses() {
        let systemd = [("[::]:80", "[::]:80", Purpose::Http)];
        for address in ["0.0.0.0:80", "[::]:80"] {
            assert_eq!(taken(of(&systemd), &[(address, Purpose::Admin)]), (vec![true], 0), "{address}");
        }
        for address in ["127.0.0.1:80", "0.0.0.0:81"] {
            assert_eq!(taken(of(&systemd), &[(address, Purpose::Admin)]), (vec![false], 1), "{address}");
        }
    }
}
