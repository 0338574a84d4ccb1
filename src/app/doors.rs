//! Every socket of the process: visitors', metrics', the admin API's.
//!
//! `app` opens them before anything is served, so that a bad address fails at start. Only the admin API may be missing
//! for a while, where its token or its unix socket can't be had: who is served doesn't need it, and never waits for it.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::admin::{self, AdminSocket, Api, Gate, Key, SocketFile, Token, token_file, token_in};
use crate::app::{Bound, StartError};
use crate::config::TOKEN_VARIABLE;
use crate::config::limits::{ADMIN_OPENING, ADMIN_SOCKET_RETRY};
use crate::config::model::{self, Server};
use crate::control::status::Watching;
use crate::server::listener::{Listener, Listening, Place};
use crate::server::opening::Manner;
use crate::telemetry::events::{Event, StateEvent};
use crate::telemetry::metrics::Metrics;
use crate::upgrade::inherited::Inherited;
use crate::upgrade::message::{self, Passed, Purpose};

/// Every socket, opened before anything is served.
pub(super) struct Sockets {
    visitors: Vec<Listener>,
    metrics: Option<Listener>,
    admin: Option<AdminDoor>,
}

impl Sockets {
    /// Opens those of a configuration, or goes on with those that are open already.
    ///
    /// # Errors
    /// Names the address or the token that can't be had.
    pub(super) fn open(server: &Server, inherited: &mut Inherited) -> Result<Self, StartError> {
        let proxy_protocol = server.proxy_protocol;
        let named: Vec<SocketAddr> = addresses(server).collect();
        let mut listen = |purpose, address, manner| match inherited.tcp(purpose, address, &named) {
            Some(socket) => Listener::adopt(socket, address, manner),
            None => Listener::bind(address, manner),
        };
        let mut visitors = Vec::new();
        for (purpose, addresses) in [(Purpose::Http, &server.http), (Purpose::Https, &server.https)] {
            let manner = Manner { tls: purpose == Purpose::Https, proxy_protocol };
            for address in addresses {
                visitors.push(listen(purpose, *address, manner)?);
            }
        }
        let plain = Manner { tls: false, proxy_protocol: false };
        let metrics = server.metrics.map(|address| listen(Purpose::Metrics, address, plain)).transpose()?;
        let admin = match &server.admin {
            Some(admin) => Some(AdminDoor::of(admin, listen(Purpose::Admin, admin.address, plain)?)?),
            None => None,
        };
        let manner = Manner { tls: false, proxy_protocol };
        for path in &server.unix {
            visitors.push(match inherited.unix(path) {
                Some(socket) => Listener::adopt_unix(socket, path, manner),
                None => Listener::bind_unix(path, manner)?,
            });
        }
        Ok(Self { visitors, metrics, admin })
    }

    /// How many visitors come in by.
    pub(super) fn count(&self) -> usize {
        self.visitors.len()
    }

    /// Another handle of each, for the next process.
    ///
    /// # Errors
    /// When the machine has no descriptor left.
    pub(super) fn for_successor(&self) -> Result<Vec<Shared>, StartError> {
        let visitors = self.visitors.iter().map(|listener| match listener.manner.tls {
            true => (Purpose::Https, listener),
            false => (Purpose::Http, listener),
        });
        let metrics = self.metrics.iter().map(|listener| (Purpose::Metrics, listener));
        let admin = self.admin.iter().map(|door| (Purpose::Admin, &door.listener));
        visitors.chain(metrics).chain(admin).map(|(purpose, listener)| passed(purpose, listener)).collect()
    }

    /// Every visitors' socket once more, for a worker.
    ///
    /// # Errors
    /// When the machine has no descriptor left.
    pub(super) fn duplicates(&self) -> Result<Vec<Listener>, StartError> {
        Ok(self.visitors.iter().map(Listener::duplicate).collect::<Result<_, _>>()?)
    }

    /// Says where visitors are served, and serves metrics and the admin API. Our own handles close: the workers'
    /// remain.
    pub(super) async fn tell(self, metrics: Metrics, status: Watching, api: Api, gate: Gate) -> Bound {
        for listener in &self.visitors {
            let purpose = match (&listener.place, listener.manner.tls) {
                (Place::Unix(_), _) => "unix",
                (Place::Tcp(_), true) => "https",
                (Place::Tcp(_), false) => "http",
            };
            Event::ListenerBound { purpose, place: &listener.place }.log();
        }
        let of = |tls| {
            let listeners = self.visitors.iter().filter(move |listener| listener.manner.tls == tls);
            listeners.filter_map(Listener::address).collect()
        };
        let (http, https) = (of(false), of(true));
        let address = self.metrics.and_then(|listener| {
            let address = listener.address();
            Event::ListenerBound { purpose: "metrics", place: &listener.place }.log();
            if let Listening::Tcp(socket) = listener.into_socket() {
                tokio::spawn(async move {
                    if let Err(error) = admin::serve(socket, metrics, status, gate).await {
                        Event::AcceptFailed { listener: "metrics", error: &error }.log();
                    }
                });
            }
            address
        });
        let admin = match self.admin {
            Some(door) => door.open(api).await,
            None => None,
        };
        Bound { http, https, metrics: address, admin }
    }
}

/// A listening socket for another process.
pub(super) type Shared = (Passed, OwnedFd);

fn passed(purpose: Purpose, listener: &Listener) -> Result<Shared, StartError> {
    let place = match (&listener.place, listener.asked) {
        (Place::Tcp(bound), asked) => message::Place::Tcp { asked: asked.unwrap_or(*bound), bound: *bound },
        (Place::Unix(path), _) => message::Place::Unix { path: path.clone(), file: None },
    };
    let socket = match listener.duplicate()?.into_socket() {
        Listening::Tcp(socket) => socket.into(),
        Listening::Unix(socket) => socket.into(),
    };
    Ok((Passed { purpose, place }, socket))
}

/// Every address that a configuration names.
fn addresses(server: &Server) -> impl Iterator<Item = SocketAddr> {
    let admin = server.admin.as_ref().map(|admin| admin.address);
    server.http.iter().chain(&server.https).chain(&server.metrics).copied().chain(admin)
}

/// The admin API over TCP, and what opens it.
struct AdminDoor {
    listener: Listener,
    hosts: Vec<String>,
    token: Secret,
}

/// A token, or the state directory that it is in.
enum Secret {
    Known(Token),
    In(PathBuf),
}

impl AdminDoor {
    /// With the token that the configuration names: one that can't be had fails the start.
    fn of(admin: &model::Admin, listener: Listener) -> Result<Self, StartError> {
        let token = match &admin.token {
            model::Token::File(path) => Secret::Known(token_file(path)?),
            model::Token::State(dir) => Secret::In(dir.clone()),
            // It was there when the configuration was read.
            model::Token::Environment => {
                let text = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
                Secret::Known(Token::parse(&text).map_err(StartError::Environment)?)
            }
        };
        Ok(Self { listener, hosts: admin.hosts.clone(), token })
    }

    /// Serves, once there is a token: its address, if that is now. A state directory that can't be used costs the API,
    /// until it can be used; never the visitors.
    async fn open(self, api: Api) -> Option<SocketAddr> {
        let Self { listener, hosts, token } = self;
        let address = listener.address();
        match token {
            Secret::Known(token) => serve_admin(listener, Key { token, hosts }, api),
            Secret::In(dir) => {
                let begins = |first| async move {
                    let token = insist(move || token_in(&dir), Some(first)).await;
                    serve_admin(listener, Key { token, hosts }, api);
                };
                if !begin(begins).await {
                    return None;
                }
            }
        }
        address
    }
}

/// Serves the admin API over TCP.
fn serve_admin(listener: Listener, key: Key, api: Api) {
    Event::ListenerBound { purpose: "admin", place: &listener.place }.log();
    if let Listening::Tcp(socket) = listener.into_socket() {
        tokio::spawn(async move {
            if let Err(error) = api.serve_tcp(socket, key).await {
                Event::AcceptFailed { listener: "admin", error: &error }.log();
            }
        });
    }
}

/// The admin API's unix socket, as it is now: what another process needs to go on with it.
#[derive(Debug)]
pub(super) struct AdminSocketNow {
    path: PathBuf,
    socket: UnixListener,
    file: (u64, u64),
}

impl AdminSocketNow {
    fn of(socket: &AdminSocket) -> io::Result<Self> {
        let (handle, file) = socket.share()?;
        Ok(Self { path: socket.path.clone(), socket: handle, file })
    }

    /// Another handle, for the next process.
    ///
    /// # Errors
    /// When the machine has no descriptor left.
    pub(super) fn for_successor(&self) -> io::Result<Shared> {
        let place = message::Place::Unix { path: self.path.clone(), file: Some(self.file) };
        Ok((Passed { purpose: Purpose::AdminSocket, place }, self.socket.try_clone()?.into()))
    }
}

/// What the admin API's unix socket is served with.
pub(super) struct SocketDoor {
    /// The state directory.
    pub(super) dir: PathBuf,
    /// One that the process before has opened.
    pub(super) inherited: Option<(UnixListener, (u64, u64))>,
    /// Told which there is, for the next process.
    pub(super) now: watch::Sender<Option<AdminSocketNow>>,
    /// Whether another process has it.
    pub(super) gate: Gate,
}

impl SocketDoor {
    /// Serves the admin API. A socket that can't be opened now, or that somebody removes, is opened later. Once we
    /// drain, it is whoever follows us who is to be steered: its place is given up.
    pub(super) async fn serve(mut self, api: Api, mut status: Watching) {
        let (path, inherited) = (AdminSocket::path_in(&self.dir), self.inherited.take());
        begin(|first| async move {
            let adopt = || inherited.and_then(|(socket, file)| AdminSocket::adopt(path, socket, file));
            let mut inherited = spawn_blocking(adopt).await.unwrap_or_default();
            let mut first = Some(first);
            loop {
                let of = self.dir.clone();
                let socket = match inherited.take() {
                    Some(socket) => {
                        first.take().map(|first| first.send(true));
                        socket
                    }
                    None => insist(move || AdminSocket::bind(&of), first.take()).await,
                };
                // Without a descriptor it is opened anew by the next process.
                self.now.send_replace(AdminSocketNow::of(&socket).ok());
                let file = Arc::new(serve_unix(socket, &api));
                while is_there(&file).await {
                    tokio::select! {
                        () = tokio::time::sleep(ADMIN_SOCKET_RETRY) => {}
                        _ = status.wait_for(|status| status.draining) => return self.give_up(file),
                    }
                }
            }
        })
        .await;
    }

    fn give_up(&self, file: Arc<SocketFile>) {
        self.now.send_replace(None);
        if self.gate.is_left() {
            Arc::into_inner(file).into_iter().for_each(SocketFile::leave);
        }
    }
}

fn serve_unix(socket: AdminSocket, api: &Api) -> SocketFile {
    Event::ListenerBound { purpose: "unix", place: &Place::Unix(socket.path.clone()) }.log();
    let (listener, file) = socket.divide();
    let api = api.clone();
    tokio::spawn(async move {
        if let Err(error) = api.serve_unix(listener).await {
            Event::AcceptFailed { listener: "admin socket", error: &error }.log();
        }
    });
    file
}

/// Where nobody can say, it is believed to be.
async fn is_there(file: &Arc<SocketFile>) -> bool {
    let file = Arc::clone(file);
    spawn_blocking(move || file.is_there()).await.unwrap_or(true)
}

/// Starts something that goes on, and waits until its first attempt is over, for a bounded time: whether it did it.
async fn begin<F: Future<Output = ()> + Send + 'static>(begins: impl FnOnce(First) -> F) -> bool {
    let (first, over) = oneshot::channel();
    tokio::spawn(begins(first));
    matches!(timeout(ADMIN_OPENING, over).await, Ok(Ok(true)))
}

/// Is told whether the first attempt did it.
type First = oneshot::Sender<bool>;

/// Tries until it is done, never on the control thread: a disk that hangs must not hold it up. What is in the way is
/// said where it isn't what was said last.
async fn insist<T, E, A>(attempt: A, mut first: Option<First>) -> T
where
    T: Send + 'static,
    E: Display + Send + 'static,
    A: Fn() -> Result<T, E> + Send + Sync + 'static,
{
    let (attempt, mut told) = (Arc::new(attempt), None);
    loop {
        let attempt = Arc::clone(&attempt);
        let outcome = spawn_blocking(move || attempt().map_err(|error| error.to_string())).await;
        let outcome = outcome.unwrap_or_else(|error| Err(error.to_string()));
        if let Some(first) = first.take() {
            // Who waited for it may have given up.
            let _ = first.send(outcome.is_ok());
        }
        match outcome {
            Ok(done) => return done,
            Err(error) if told.as_ref() == Some(&error) => {}
            Err(error) => {
                Event::from(StateEvent::NoSocket { error: &error }).log();
                told = Some(error);
            }
        }
        tokio::time::sleep(ADMIN_SOCKET_RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;

    /// A network's disk can hang for hours.
    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_nothing_but_the_first_moments() {
        let (hangs, disk) = UnixStream::pair().unwrap();
        let (done, is_done) = oneshot::channel();
        let attempt = move || (&disk).read(&mut [0]);
        let began = Instant::now();
        let did = begin(|first| async move {
            insist(attempt, Some(first)).await;
            let _ = done.send(());
        });
        assert!(!did.await && began.elapsed() >= ADMIN_OPENING && began.elapsed() < ADMIN_OPENING * 2);
        drop(hangs);
        is_done.await.unwrap();
    }
}
