//! One connection of HTTP/2 to a backend: its bounds, its task, and how many requests the backend takes at a time.
//!
//! `upstream::connect` makes it, `upstream::streams` hands out its streams. It must never be handed out before the
//! backend has said how many it takes.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use crate::config::limits::{
    HTTP2_CONNECTION_WINDOW, HTTP2_HEADER_LIST, HTTP2_PING, HTTP2_PONG, HTTP2_SEND_BUFFER,
    HTTP2_STREAM_WINDOW, HTTP2_STREAMS,
};
use crate::upstream::connect::{ConnectError, ConnectLimits};
use crate::upstream::io::UpstreamIo;
use crate::upstream::upload::Upload;

/// A connection and the task that drives it. It ends once every sender is gone and the last stream is over.
pub struct Driven {
    /// Sends requests on it; clones share it.
    pub sender: SendRequest<Upload>,
    streams: Box<dyn Fn() -> Streams>,
}

impl Driven {
    /// How many requests it may carry at a time now; none once it has ended.
    pub fn streams(&self) -> usize {
        match (self.streams)() {
            Streams::Told(most) => most.min(HTTP2_STREAMS),
            Streams::NotTold | Streams::Ended => 0,
        }
    }
}

/// Begins HTTP/2 on a socket, and waits until the backend's settings have come (RFC 9113 section 3.4): who speaks
/// something else is found out before a request is lost to it, and nobody is sent more than it takes.
///
/// # Errors
/// That something else is spoken, or that the socket broke.
pub async fn handshake<S>(socket: S, limits: ConnectLimits) -> Result<Driven, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let heard = Arc::new(Notify::new());
    let io = TokioIo::new(UpstreamIo::telling(socket, limits.write, Arc::clone(&heard)));
    let (sender, connection) = builder(limits.write).handshake(io).await.map_err(|error| failure(&error))?;
    let driven = Rc::new(RefCell::new(Some(connection)));
    let ended = Rc::new(Cell::new(None));
    tokio::task::spawn_local(drive(Rc::clone(&driven), Arc::clone(&heard), Rc::clone(&ended)));
    let streams = Box::new(move || streams(&driven));
    loop {
        match streams() {
            Streams::Told(1..) => return Ok(Driven { sender, streams }),
            Streams::Ended => return Err(ended.take().unwrap_or(ConnectError::Alpn)),
            // None at all may become some.
            Streams::NotTold | Streams::Told(0) => heard.notified().await,
        }
    }
}

/// Whether the backend has said that it did nothing with a request: a stream that it refused (RFC 9113 section 8.7),
/// or that came after the last one it takes (section 6.8).
pub fn is_refused(error: &hyper::Error) -> bool {
    let Some(cause) = cause(error).filter(|cause| cause.is_remote()) else { return false };
    cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// Whether the error is about one stream alone, and the others go on.
pub fn is_of_stream(error: &hyper::Error) -> bool {
    cause(error).is_some_and(h2::Error::is_reset) && !is_refused(error)
}

/// Whether the backend broke the rules of HTTP/2.
pub fn is_malformed(error: &hyper::Error) -> bool {
    cause(error).is_some_and(h2::Error::is_library)
}

impl fmt::Debug for Driven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driven").field("streams", &self.streams()).finish_non_exhaustive()
    }
}

/// How many requests a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streams {
    /// The backend's settings haven't come.
    NotTold,
    Told(usize),
    Ended,
}

/// Runs hyper's tasks on the worker's own thread: our bodies can't leave it.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F: Future + 'static> Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

type Http2Connection<S> = Connection<TokioIo<UpstreamIo<S>>, Upload, OnThisThread>;
type Kept<S> = Rc<RefCell<Option<Http2Connection<S>>>>;

/// What stands for "not told": no setting of the protocol, which has 32 bits, is as large.
const NOT_TOLD: usize = usize::MAX - 1;

fn builder(idle_body: Duration) -> Builder<OnThisThread> {
    let mut builder = Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(NOT_TOLD)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .max_header_list_size(HTTP2_HEADER_LIST)
        .keep_alive_interval(HTTP2_PING.max(idle_body / 3))
        .keep_alive_timeout(HTTP2_PONG);
    builder
}

/// The connection's task.
async fn drive<S>(connection: Kept<S>, heard: Arc<Notify>, ended: Rc<Cell<Option<ConnectError>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let outcome = std::future::poll_fn(|cx| match connection.borrow_mut().as_mut() {
        Some(connection) => Pin::new(connection).poll(cx),
        None => std::task::Poll::Ready(Ok(())),
    });
    if let Err(error) = outcome.await {
        tracing::debug!(%error, "upstream connection ended");
        ended.set(Some(failure(&error)));
    }
    connection.take();
    heard.notify_one();
}

fn streams<S>(connection: &Kept<S>) -> Streams
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    // Nothing asks while the connection's own task runs.
    let Ok(connection) = connection.try_borrow() else { return Streams::Told(0) };
    match connection.as_ref().map(Connection::current_max_send_streams) {
        None => Streams::Ended,
        Some(NOT_TOLD) => Streams::NotTold,
        Some(most) => Streams::Told(most),
    }
}

fn failure(error: &hyper::Error) -> ConnectError {
    if is_malformed(error) {
        return ConnectError::Alpn;
    }
    ConnectError::Tcp(Arc::new(io::Error::other(error.to_string())))
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}
