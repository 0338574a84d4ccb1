//! Every socket of the process: visitors', metrics', the admin API's.
//!
//! `app` opens them before anything is served, so that a bad address fails at start. Only the admin API's unix socket
//! may be missing for a while: who is served doesn't need it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::admin::{self, AdminSocket, Api, Key, SocketFile, Token, token_file, token_in};
use crate::app::{Bound, StartError};
use crate::config::TOKEN_VARIABLE;
use crate::config::limits::ADMIN_SOCKET_RETRY;
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
    admin: Option<(Listener, Key)>,
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
            Some(admin) => locked(admin, Listener::bind(admin.address, plain)?)?,
            None => None,
        };
        Ok(Self { visitors, metrics, admin })
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
    pub(super) fn tell(self, metrics: Metrics, status: Watching, api: Api) -> Bound {
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
        let admin = self.admin.and_then(|(listener, key)| {
            let address = listener.address();
            serve_admin(listener, key, api);
            address
        });
        Bound { http, https, metrics: address, admin }
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

/// The admin API over TCP with its key. A state directory that can't be used costs the API, never the visitors.
fn locked(admin: &model::Admin, listener: Listener) -> Result<Option<(Listener, Key)>, StartError> {
    let token = match &admin.token {
        model::Token::File(path) => token_file(path)?,
        model::Token::State(dir) => match token_in(dir) {
            Ok(token) => token,
            Err(error) => {
                Event::from(StateEvent::NoSocket { error: &error }).log();
                return Ok(None);
            }
        },
        // It was there when the configuration was read.
        model::Token::Environment => {
            let text = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
            Token::parse(&text).map_err(StartError::Environment)?
        }
    };
    Ok(Some((listener, Key { token, hosts: admin.hosts.clone() })))
}

/// Serves the admin API on the unix socket of a state directory. One that can't be opened now, or that somebody
/// removes, is opened later.
pub(super) fn serve_socket(dir: PathBuf, api: Api) {
    let mut told = None;
    let mut open = open_socket(&dir, &api, &mut told);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(ADMIN_SOCKET_RETRY).await;
            if !open.as_ref().is_some_and(SocketFile::is_there) {
                drop(open.take());
                open = open_socket(&dir, &api, &mut told);
            }
        }
    });
}

/// Says what is in the way where it isn't what was `told` last.
fn open_socket(dir: &Path, api: &Api, told: &mut Option<String>) -> Option<SocketFile> {
    let socket = match AdminSocket::bind(dir) {
        Ok(socket) => socket,
        Err(error) => {
            let error = error.to_string();
            if told.as_ref() != Some(&error) {
                Event::from(StateEvent::NoSocket { error: &error }).log();
            }
            *told = Some(error);
            return None;
        }
    };
    Event::ListenerBound { purpose: "unix", place: &Place::Unix(socket.path.clone()) }.log();
    let (listener, file) = socket.divide();
    let api = api.clone();
    tokio::spawn(async move {
        if let Err(error) = api.serve_unix(listener).await {
            Event::AcceptFailed { listener: "admin socket", error: &error }.log();
        }
    });
    *told = None;
    Some(file)
}
