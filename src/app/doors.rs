//! Every socket of the process: visitors', metrics', the admin API's.
//!
//! `app` opens them before anything is served, so that a bad address fails at start. Only the admin API may be missing
//! for a while, where its token or its unix socket can't be had: who is served doesn't need it, and never waits for it.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::admin::{self, AdminSocket, Api, Key, SocketFile, Token, token_file, token_in};
use crate::app::{Bound, StartError};
use crate::config::TOKEN_VARIABLE;
use crate::config::limits::{ADMIN_OPENING, ADMIN_SOCKET_RETRY};
use crate::config::model::{self, Server};
use crate::control::status::Watching;
use crate::server::listener::{Listener, Listening, Place};
use crate::server::opening::Manner;
use crate::telemetry::events::{Event, StateEvent};
use crate::telemetry::metrics::Metrics;

/// Every socket, opened before anything is served.
pub(super) struct Sockets {
    visitors: Vec<Listener>,
    metrics: Option<Listener>,
    admin: Option<AdminDoor>,
}

impl Sockets {
    /// Opens those of a configuration.
    ///
    /// # Errors
    /// Names the address or the token that can't be had.
    pub(super) fn open(server: &Server) -> Result<Self, StartError> {
        let proxy_protocol = server.proxy_protocol;
        let listen = |addresses: &[SocketAddr], tls| {
            let manner = Manner { tls, proxy_protocol };
            addresses.iter().map(|address| Listener::bind(*address, manner)).collect::<Result<Vec<_>, _>>()
        };
        let mut visitors = listen(&server.http, false)?;
        let manner = Manner { tls: false, proxy_protocol };
        for path in &server.unix {
            visitors.push(Listener::bind_unix(path, manner)?);
        }
        visitors.extend(listen(&server.https, true)?);
        let plain = Manner { tls: false, proxy_protocol: false };
        let metrics = server.metrics.map(|address| Listener::bind(address, plain)).transpose()?;
        let admin = match &server.admin {
            Some(admin) => Some(AdminDoor::of(admin, Listener::bind(admin.address, plain)?)?),
            None => None,
        };
        Ok(Self { visitors, metrics, admin })
    }

    /// How many visitors come in by.
    pub(super) fn count(&self) -> usize {
        self.visitors.len()
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
    pub(super) async fn tell(self, metrics: Metrics, status: Watching, api: Api) -> Bound {
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
                    if let Err(error) = admin::serve(socket, metrics, status).await {
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

/// Serves the admin API on the unix socket of a state directory. One that can't be opened now, or that somebody
/// removes, is opened later. Once we drain, it is whoever follows us who is to be steered: its place is given up.
pub(super) async fn serve_socket(dir: PathBuf, api: Api, mut status: Watching) {
    begin(|first| async move {
        let mut first = Some(first);
        loop {
            let of = dir.clone();
            let socket = insist(move || AdminSocket::bind(&of), first.take()).await;
            let file = Arc::new(serve_unix(socket, &api));
            while is_there(&file).await {
                tokio::select! {
                    () = tokio::time::sleep(ADMIN_SOCKET_RETRY) => {}
                    _ = status.wait_for(|status| status.draining) => return,
                }
            }
        }
    })
    .await;
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
