//! A small HTTP/1.1 client of the admin API: one question, one answer, within bounds of time and size.
//!
//! The verbs that talk to a running proxy ask by it; the live view also reads a stream by it. It must never try a
//! second time: a command that may have been carried out isn't sent again.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

use crate::cli::place::Place;
use crate::config::limits::{ASK, ASK_ANSWER, UPGRADE_ASK};
use crate::control::command::{Applied, CommandBody, CommandName, Refused};

/// Somebody to ask.
#[derive(Debug, Clone)]
pub(super) struct Client {
    place: Place,
}

/// What was answered: as it was sent, and as it was meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer<T> {
    /// The API's JSON.
    pub(super) json: String,
    /// What it says.
    pub(super) value: T,
}

/// Why there is no answer, in one sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody is there.
    #[error(
        "no proxy at {place}: {why}; start one with `crossfade run --config FILE`, or name another by --state DIR \
         or --admin URL"
    )]
    Absent { place: Place, why: String },
    /// Somebody is there and says nothing.
    #[error(
        "the proxy at {0} hasn't answered for {seconds} seconds; whether it has done what was asked, \
         `crossfade history` tells",
        seconds = .1.as_secs()
    )]
    Late(Place, Duration),
    /// Something else is there, or it broke off.
    #[error("what answers at {place} isn't Crossfade's admin API: {what}")]
    Foreign { place: Place, what: String },
    /// It broke off.
    #[error(
        "the proxy at {0} broke off before its answer was whole; whether it has done what was asked, \
         `crossfade history` tells"
    )]
    Broken(Place),
    /// It says no.
    #[error("{}", .0.value.error)]
    Refused(Box<Answer<Refused>>),
    /// We can't ask at all.
    #[error("can't ask the proxy: {0}")]
    Unable(#[from] io::Error),
}

impl Client {
    /// One that asks the proxy at `place`.
    pub(super) fn new(place: Place) -> Self {
        Self { place }
    }

    /// Where it asks.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Asks for what can be seen, and waits.
    pub(super) fn see<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Trouble> {
        waiting(self.view(path))
    }

    /// Asks for a change, and waits until it is live.
    pub(super) fn command(&self, body: &CommandBody) -> Result<Answer<Applied>, Trouble> {
        waiting(self.order(body))
    }

    /// Asks for what can be seen.
    pub(super) async fn view<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Trouble> {
        self.in_time(ASK, Method::GET, path, String::new()).await
    }

    /// Asks for a change.
    pub(super) async fn order(&self, body: &CommandBody) -> Result<Answer<Applied>, Trouble> {
        let json = serde_json::to_string(body).map_err(io::Error::from)?;
        let patience = if body.command == CommandName::Upgrade { UPGRADE_ASK } else { ASK };
        self.in_time(patience, Method::POST, "/api/v1/commands", json).await
    }

    /// Asks for something that never ends.
    pub(super) async fn stream(&self, path: &str) -> Result<Incoming, Trouble> {
        let asked = self.send(Method::GET, path, String::new());
        let response =
            tokio::time::timeout(ASK, asked).await.map_err(|_| Trouble::Late(self.place.clone(), ASK))??;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        let status = response.status();
        let whole = tokio::time::timeout(ASK, self.whole(response)).await;
        Err(self.refusal(status, whole.map_err(|_| Trouble::Late(self.place.clone(), ASK))??))
    }

    async fn in_time<T: DeserializeOwned>(
        &self,
        patience: Duration,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Answer<T>, Trouble> {
        let asked = async {
            let response = self.send(method, path, body).await?;
            let status = response.status();
            Ok::<_, Trouble>((status, self.whole(response).await?))
        };
        let late = |_| Trouble::Late(self.place.clone(), patience);
        let (status, json) = tokio::time::timeout(patience, asked).await.map_err(late)??;
        if status != StatusCode::OK {
            return Err(self.refusal(status, json));
        }
        match serde_json::from_str(&json) {
            Ok(value) => Ok(Answer { json, value }),
            Err(error) => Err(self.foreign(&error)),
        }
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<Response<Incoming>, Trouble> {
        let mut sender = self.connect().await?;
        let mut request =
            Request::builder().method(method).uri(path).header(ACCEPT, "application/json, text/event-stream");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = match &self.place {
            Place::Socket(_) => request.header(HOST, "localhost"),
            Place::Address { authority, token } => {
                request.header(HOST, authority).header(AUTHORIZATION, token)
            }
        };
        let request =
            request.body(Full::new(Bytes::from(body))).expect("a path of ours and an address are a request");
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Trouble> {
        let absent = |error| Trouble::Absent { why: reason(&self.place, &error), place: self.place.clone() };
        match &self.place {
            Place::Socket(path) => {
                self.shake(TokioIo::new(UnixStream::connect(path).await.map_err(absent)?)).await
            }
            Place::Address { authority, .. } => {
                self.shake(TokioIo::new(TcpStream::connect(authority).await.map_err(absent)?)).await
            }
        }
    }

    async fn shake<S>(&self, socket: TokioIo<S>) -> Result<SendRequest<Full<Bytes>>, Trouble>
    where
        TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(socket).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<String, Trouble> {
        let read = Limited::new(response.into_body(), ASK_ANSWER).collect().await;
        let bytes = read.map_err(|error| match error.is::<LengthLimitError>() {
            true => self.foreign(&format!("its answer is over {} MiB", ASK_ANSWER >> 20)),
            false => Trouble::Broken(self.place.clone()),
        })?;
        String::from_utf8(bytes.to_bytes().into()).map_err(|error| self.foreign(&error))
    }

    fn refusal(&self, status: StatusCode, json: String) -> Trouble {
        match serde_json::from_str(&json) {
            Ok(value) => Trouble::Refused(Box::new(Answer { json, value })),
            Err(_) => self.foreign(&format!("it answers {status} without saying why")),
        }
    }

    fn broken(&self, error: &hyper::Error) -> Trouble {
        if error.is_parse() { self.foreign(error) } else { Trouble::Broken(self.place.clone()) }
    }

    fn foreign(&self, what: &dyn std::fmt::Display) -> Trouble {
        Trouble::Foreign { place: self.place.clone(), what: what.to_string() }
    }
}

/// Why a connection couldn't be opened, in words that help.
fn reason(place: &Place, error: &io::Error) -> String {
    match (error.kind(), place) {
        (ErrorKind::NotFound, Place::Socket(_)) => {
            "there is no such socket, or the running one couldn't open it (look for state.no-socket in its log)"
                .to_owned()
        }
        (ErrorKind::ConnectionRefused, Place::Socket(_)) => {
            "the socket is there, but nobody listens on it".to_owned()
        }
        (ErrorKind::ConnectionRefused, Place::Address { .. }) => "nobody listens there".to_owned(),
        (ErrorKind::PermissionDenied, _) => {
            "it belongs to another user (be the one that runs the proxy, or root)".to_owned()
        }
        _ => error.to_string(),
    }
}

fn waiting<T>(asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(asked);
    // A name that is still being looked up would hold the end back.
    runtime.shutdown_background();
    answer
}
