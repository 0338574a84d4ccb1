//! The steering wheel: commands to the proxy's admin API, as the dashboard and `crossfade shift` send them.
//!
//! `conductor` has it. It must never send anything once somebody else steers.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::Side;
use crate::control::command::{Applied, CommandBody, CommandName, Refused};

/// What the demo is called in the history.
const ACTOR: &str = "demo";

/// A connection to the admin API.
#[derive(Debug)]
pub(super) struct Wheel {
    address: SocketAddr,
    token: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    revision: u64,
}

impl Wheel {
    /// One that connects when it is turned.
    pub(super) fn new(address: SocketAddr, token: String) -> Self {
        Self { address, token, sender: None, revision: 1 }
    }

    /// The last revision that is ours; a higher one is somebody else's.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Gives the new platform so many percent. Returns once that is live.
    ///
    /// # Errors
    /// Why it isn't, in one sentence.
    pub(super) async fn shift(&mut self, percent: u8, reason: &str) -> Result<(), String> {
        let (backend, percent) = (Some(Side::New.name().to_owned()), Some(f64::from(percent)));
        self.send(CommandBody { backend, percent, ..self.body(CommandName::Shift, reason) }).await
    }

    /// Everything back to the old platform.
    ///
    /// # Errors
    /// Why it isn't, in one sentence.
    pub(super) async fn roll_back(&mut self, reason: &str) -> Result<(), String> {
        self.send(self.body(CommandName::Rollback, reason)).await
    }

    /// Only as long as nobody else has changed anything.
    fn body(&self, command: CommandName, reason: &str) -> CommandBody {
        CommandBody {
            reason: Some(reason.to_owned()),
            actor: Some(ACTOR.to_owned()),
            if_revision: Some(self.revision),
            ..CommandBody::of(command)
        }
    }

    async fn send(&mut self, body: CommandBody) -> Result<(), String> {
        let answer = self.post(&body).await;
        if answer.is_err() {
            self.sender = None;
        }
        let (status, bytes) = answer.map_err(|error| format!("the admin API doesn't answer: {error}"))?;
        if status != StatusCode::OK {
            let refused: Refused = parsed(&bytes)?;
            return Err(refused.error);
        }
        let applied: Applied = parsed(&bytes)?;
        self.revision = applied.revision;
        Ok(())
    }

    async fn post(&mut self, body: &CommandBody) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error>> {
        let sender = match &mut self.sender {
            Some(sender) => sender,
            none => none.insert(connect(self.address).await?),
        };
        let request = Request::post("/api/v1/commands")
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Full::from(serde_json::to_vec(body)?))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error>> {
    let socket = TcpStream::connect(address).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn parsed<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the admin API's answer can't be read: {error}"))
}
