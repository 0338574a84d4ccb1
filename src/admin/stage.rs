//! For tests: an admin API that listens, with a Controller of the test's own.
//!
//! `api_tests` and `events_tests` put requests to it as raw bytes. It must never go on without a test.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::events::Source;
use super::{AdminSocket, Api, GateKeeper, Key, SocketFile, Token};
use crate::config::model::Mode;
use crate::control::command::{Asked, Command, Commands, Driver, Outcome, Steer};
use crate::control::record::{Record, RouteState};
use crate::control::status::{BackendShown, FileText, RouteShown, Status, Statuses};
use crate::telemetry::metrics::{Metrics, Reasons, Share};
use crate::telemetry::readings::{Readings, Sampler};

/// The token of every stage.
pub(super) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Nothing takes so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// An API that listens both ways.
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    pub(super) socket: PathBuf,
    pub(super) statuses: Statuses,
    pub(super) sampler: Sampler,
    pub(super) metrics: Metrics,
    api: Api,
    _file: SocketFile,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// With nobody to carry commands out.
    pub(super) fn begin() -> Self {
        Self::with(Commands::new().0)
    }

    /// With somebody who answers every command.
    pub(super) fn steered(answer: impl FnMut(Steer, Driver) -> Outcome + Send + 'static) -> Self {
        let (commands, asked) = Commands::new();
        tokio::spawn(control(asked, answer));
        Self::with(commands)
    }

    fn with(commands: Commands) -> Self {
        let metrics = Metrics::new("1.2.3", Reasons::default());
        let share = |backend, weight_ratio| Share {
            route: "web",
            backend,
            weight_ratio,
            is_stable: backend == "heroku",
            mode: "open",
        };
        metrics.reconcile(&[share("fly", 0.05), share("heroku", 0.95)]);
        let (readings, sampler) = Readings::new(metrics.clone());
        let (statuses, status) = watch::channel(control_status());
        let api = Api::new(commands, status, readings, "1.2.3", GateKeeper::new().1);
        let dir = tempfile::tempdir().unwrap();
        let bound = AdminSocket::bind(dir.path()).unwrap();
        let socket = bound.path.clone();
        let (listener, file) = bound.divide();
        tokio::spawn(api.clone().serve_unix(listener));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let key = Key { token: Token::parse(TOKEN).unwrap(), hosts: vec!["admin.example.com".to_owned()] };
        tokio::spawn(api.clone().serve_tcp(listener, key));
        Self { address, socket, statuses, sampler, metrics, api, _file: file, _dir: dir }
    }

    /// How many event streams may still be opened.
    pub(super) fn places(&self) -> usize {
        self.api.streams().available_permits()
    }

    /// Whether so many streams may be opened at last; it is waited for a moment.
    pub(super) async fn has_places(&self, count: u32) -> bool {
        timeout(Duration::from_millis(20), self.api.streams().acquire_many(count)).await.is_ok()
    }

    /// What a stream that ends then is made from.
    pub(super) fn source(&self, ends: Instant) -> Source {
        let inner = &self.api.0;
        Source {
            told: Arc::clone(&inner.told),
            status: inner.status.clone(),
            readings: inner.readings.clone(),
            after: None,
            ends,
            place: Arc::clone(&inner.streams).try_acquire_owned().unwrap(),
        }
    }

    /// A new revision is live.
    pub(super) fn publish(&self, revision: u64) {
        self.statuses.send_modify(|status| {
            status.revision = revision;
            let mut history = VecDeque::clone(&status.history);
            history.push_back(Arc::new(record(revision)));
            status.history = Arc::new(history);
        });
    }

    /// The answer to these bytes over TCP.
    pub(super) async fn tcp(&self, request: &str) -> Answer {
        ask(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    /// The answer to these bytes over the unix socket.
    pub(super) async fn unix(&self, request: &str) -> Answer {
        ask(UnixStream::connect(&self.socket).await.unwrap(), request).await
    }

    /// The answer to a command over the unix socket.
    pub(super) async fn command(&self, body: &str) -> Answer {
        self.unix(&post("/api/v1/commands", "Content-Type: application/json\r\n", body)).await
    }
}

/// `GET` with the right token.
pub(super) fn with_token(path: &str) -> String {
    request("GET", path, &format!("Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"))
}

/// A request without a body.
pub(super) fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n")
}

/// A request with a body, for the unix socket.
pub(super) fn post(path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    let fields = format!("Host: localhost\r\nContent-Length: {length}\r\n{fields}");
    request("POST", path, &fields) + body
}

/// A response, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    /// The value of a field of its head.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Its body, which is JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason of a refusal.
    pub(super) fn reason(&self) -> String {
        let json = self.json();
        assert!(json["error"].as_str().is_some_and(|error| error.len() > 10), "{json}");
        json["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// Puts a request and reads until the connection ends.
pub(super) async fn ask(mut socket: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    let mut text = Vec::new();
    let conversation = async {
        // A server that refuses a body may close before all of it is sent.
        let _ = socket.write_all(request.as_bytes()).await;
        let _ = socket.read_to_end(&mut text).await;
    };
    timeout(PATIENCE, conversation).await.expect("an answer comes at once");
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a response");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// An event stream that is read as it comes.
pub(super) struct Events<S> {
    socket: S,
    text: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Events<S> {
    /// Asks for it.
    pub(super) async fn of(mut socket: S, query: &str, fields: &str) -> Self {
        let fields = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{fields}");
        let request = request("GET", &format!("/api/v1/events{query}"), &fields);
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self { socket, text: String::new() };
        let head = events.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        events
    }

    /// The next event's name, id and data.
    pub(super) async fn next(&mut self) -> (String, Option<u64>, serde_json::Value) {
        loop {
            let event = self.until("\n\n").await;
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let Some(name) = field("event: ") {
                let data = serde_json::from_str(field("data: ").unwrap()).unwrap();
                return (name.to_owned(), field("id: ").map(|id| id.parse().unwrap()), data);
            }
        }
    }

    /// The next event of this name.
    pub(super) async fn next_of(&mut self, wanted: &str) -> (Option<u64>, serde_json::Value) {
        loop {
            let (name, id, data) = self.next().await;
            if name == wanted {
                return (id, data);
            }
        }
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let mut bytes = [0; 4096];
            let count = timeout(PATIENCE, self.socket.read(&mut bytes)).await.expect("an event").unwrap();
            assert_ne!(count, 0, "the stream ended after {:?}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }
}

async fn control(mut asked: mpsc::Receiver<Asked>, mut answer: impl FnMut(Steer, Driver) -> Outcome) {
    while let Some(asked) = asked.recv().await {
        let Command::Steer { steer, driver } = asked.command else { panic!("the API steers alone") };
        let _ = asked.answer.send(answer(steer, driver));
    }
}

fn control_status() -> Status {
    let state = |fly| RouteState {
        weights: BTreeMap::from([("fly".to_owned(), fly), ("heroku".to_owned(), 100.0 - fly)]),
        mode: Mode::Open,
        rolled_back: false,
    };
    let backend =
        |name: &str| BackendShown { name: name.to_owned(), urls: vec![format!("https://{name}.test")] };
    let route = RouteShown {
        name: "web".to_owned(),
        hosts: vec!["www.example.com".to_owned()],
        path: "/".to_owned(),
        stable: "heroku".to_owned(),
        live: state(5.0),
        file: state(0.0),
        backends: vec![backend("fly"), backend("heroku")],
    };
    Status {
        revision: 3,
        history: Arc::new((1..=3).map(|revision| Arc::new(record(revision))).collect()),
        routes: Arc::new([route]),
        file: Some(Arc::new(FileText { path: "/etc/crossfade.toml".into(), text: "# it\n".to_owned() })),
        ..Status::default()
    }
}

fn record(revision: u64) -> Record {
    Record {
        revision,
        at: "2026-01-02T03:04:05Z".to_owned(),
        actor: "Kim".to_owned(),
        via: "socket".to_owned(),
        command: format!("shift fly {revision}%"),
        reason: None,
        changes: Vec::new(),
        undoes: None,
    }
}
