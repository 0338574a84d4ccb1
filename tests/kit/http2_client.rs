//! A well-behaved visitor of HTTP/2: requests out, whole answers in, with flow control.
//!
//! It takes no answer that RFC 9113 forbids: fields of the connection make it fail. It must never hide a reset.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Error, RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::DEADLINE;

/// One connection to the proxy.
pub(crate) struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), Error>>,
}

/// An answer to its last byte.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// A field that stands there once, or not.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        assert!(self.headers.get_all(name).iter().count() < 2, "{name} once: {:?}", self.headers);
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request's body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Http2 {
    /// Connects by prior knowledge.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, connection) = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.expect("the proxy accepts");
            let (sender, connection) = h2::client::handshake(socket).await.expect("HTTP/2 is spoken");
            (sender, tokio::spawn(connection))
        });
        Self { runtime, sender, connection }
    }

    /// The answer to a GET of `path`.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask(get(path)).expect("an answer comes")
    }

    /// The answer to a request without a body.
    pub(crate) fn ask(&mut self, request: Request<()>) -> Result<Answer, Error> {
        self.ask_all(vec![(request, None)]).remove(0)
    }

    /// The answer to a request with a body.
    pub(crate) fn send(&mut self, request: Request<()>, sent: Sent) -> Result<Answer, Error> {
        self.ask_all(vec![(request, Some(sent))]).remove(0)
    }

    /// The answers to requests that are sent at once.
    pub(crate) fn ask_all(
        &mut self,
        requests: Vec<(Request<()>, Option<Sent>)>,
    ) -> Vec<Result<Answer, Error>> {
        let Self { runtime, sender, .. } = self;
        let exchanges: Vec<_> = requests
            .into_iter()
            .map(|(request, sent)| runtime.spawn(exchange(sender.clone(), request, sent)))
            .collect();
        runtime.block_on(async {
            let mut answers = Vec::new();
            for exchange in exchanges {
                let answer = tokio::time::timeout(DEADLINE, exchange).await;
                answers.push(answer.expect("it doesn't take for ever").unwrap());
            }
            answers
        })
    }

    /// Whether the proxy takes no further requests on it.
    pub(crate) fn is_told_to_leave(&mut self) -> bool {
        let Self { runtime, sender, connection } = self;
        // What has come already is read.
        runtime.block_on(tokio::task::yield_now());
        let ready = runtime.block_on(sender.clone().ready());
        ready.is_err() || connection.is_finished()
    }

    /// Waits for the proxy to close; how it did.
    pub(crate) fn ended(self) -> Result<(), Error> {
        let Self { runtime, sender, connection } = self;
        let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, connection).await });
        drop(sender);
        ended.expect("the connection ends").unwrap()
    }
}

/// A GET of `path`.
pub(crate) fn get(path: &str) -> Request<()> {
    request("GET", path)
}

/// A request to the host of the tests.
pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://www.example.com{path}")).body(()).unwrap()
}

async fn exchange(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    sent: Option<Sent>,
) -> Result<Answer, Error> {
    let mut sender = sender.ready().await?;
    let (response, stream) = sender.send_request(request, sent.is_none())?;
    if let Some(sent) = sent {
        // An answer may come before the body has gone, and end it.
        tokio::spawn(upload(stream, sent));
    }
    let (parts, body) = response.await?.into_parts();
    download(parts.status.as_u16(), parts.headers, body).await
}

async fn upload(mut stream: SendStream<Bytes>, sent: Sent) -> Result<(), Error> {
    let mut left = Bytes::from(sent.body);
    while !left.is_empty() {
        stream.reserve_capacity(left.len().min(64 * 1024));
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        stream.send_data(left.split_to(room?.min(left.len())), false)?;
    }
    match sent.trailers.is_empty() {
        true => stream.send_data(Bytes::new(), true),
        false => stream.send_trailers(sent.trailers),
    }
}

async fn download(status: u16, headers: HeaderMap, mut stream: RecvStream) -> Result<Answer, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend(chunk);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    Ok(Answer { status, headers, body, trailers })
}
