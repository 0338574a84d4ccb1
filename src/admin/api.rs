//! The admin API and the dashboard: what is live, how it came to be, and the commands that change it.
//!
//! `app` makes one [`Api`] and has it serve the unix socket and, if wanted, `server.admin`. Only `POST` may change
//! something, and only by asking the Controller.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use super::auth::{Door, Key};
use super::document;
use super::events::Told;
use super::gate::Gate;
use super::listen::{self, Caller, Keys};
use super::operations::{ROUTES, not_found, wrong_method};
use super::page::Page;
use super::refusal::{Refusal, dress};
use super::told::{self, Process};
use crate::config::limits::ADMIN_STREAMS;
use crate::control::command::{Applied, Command, Commands, Driver, Outcome, RefusedReason, Steer};
use crate::control::status::Watching;
use crate::server::listener::Listening;
use crate::telemetry::readings::Readings;

/// The admin API. Clones are the same.
#[derive(Debug, Clone)]
pub struct Api(pub(super) Arc<Inner>);

impl Api {
    /// Of a process of this version, which starts now.
    pub fn new(commands: Commands, status: Watching, readings: Readings, version: &str, gate: Gate) -> Self {
        let started = told::moment(jiff::Timestamp::now());
        let process = Arc::new(Process { version: version.to_owned(), started });
        Self(Arc::new(Inner {
            told: Arc::new(Told::new(Arc::clone(&process), status.clone(), readings.clone())),
            commands,
            gate,
            status,
            readings,
            process,
            streams: Arc::new(Semaphore::new(ADMIN_STREAMS)),
            document: document::document(),
            page: Page::new(),
        }))
    }

    /// Serves whoever may open the socket's file, until the process ends.
    ///
    /// # Errors
    /// When the socket can't be used.
    pub async fn serve_unix(self, socket: UnixListener) -> io::Result<()> {
        self.serve(Listening::Unix(socket), Door::Socket).await
    }

    /// Serves whoever has the key, until the process ends.
    ///
    /// # Errors
    /// When the socket can't be used.
    pub async fn serve_tcp(self, socket: TcpListener, key: Key) -> io::Result<()> {
        self.serve(Listening::Tcp(socket), Door::locked(&key)).await
    }

    /// The places of event streams.
    #[cfg(test)]
    pub(super) fn streams(&self) -> &Semaphore {
        &self.0.streams
    }

    async fn serve(self, socket: Listening, door: Door) -> io::Result<()> {
        let gate = self.0.gate.clone();
        let router = TowerToHyperService::new(self.router());
        let answer = move |request, caller| answer(router.clone(), door.clone(), request, caller);
        listen::serve(socket, Keys::Wanted, gate, answer).await
    }

    fn router(self) -> Router {
        let routes =
            ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.methods)()));
        routes.fallback(not_found).method_not_allowed_fallback(wrong_method).with_state(self)
    }

    /// Asks the Controller, and waits until it is live.
    pub(super) async fn carry_out(&self, steer: Steer, driver: Driver) -> Result<Applied, Refusal> {
        match self.0.commands.ask(Command::Steer { steer, driver }).await {
            Some(Outcome::Live(applied)) => Ok(applied),
            Some(Outcome::Refused(refused)) => Err(refused.into()),
            None => {
                Err(Refusal::new(RefusedReason::Ending, "crossfade is about to end and takes no changes"))
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    commands: Commands,
    gate: Gate,
    pub(super) status: Watching,
    pub(super) readings: Readings,
    pub(super) process: Arc<Process>,
    /// What event streams tell alike.
    pub(super) told: Arc<Told>,
    /// The places of event streams.
    pub(super) streams: Arc<Semaphore>,
    pub(super) document: String,
    pub(super) page: Page,
}

/// One request, from the door to the answer.
async fn answer(
    router: TowerToHyperService<Router>,
    door: Door,
    request: Request<Incoming>,
    caller: Caller,
) -> Response {
    let (head, body) = request.into_parts();
    let is_open = ROUTES.iter().any(|route| route.is_open && route.path == head.uri.path());
    let admitted = door.admit(&head, caller.peer, is_open);
    let has_key = admitted.as_ref().is_ok_and(|guest| guest.has_key);
    if has_key {
        caller.stay.show_key();
    }
    let mut response = match admitted {
        Ok(guest) => {
            let mut request = Request::from_parts(head, Body::new(body));
            request.extensions_mut().insert((guest, caller));
            router.call(request).await.unwrap_or_else(|never| match never {})
        }
        Err(refusal) => refusal.into_response(),
    };
    if !has_key && matches!(door, Door::Token(_)) {
        // Who has no key keeps no place.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    dress(response)
}
