//! One visitor's connection: opened, then served in the version of HTTP that it speaks, until either side ends it.
//!
//! `server::worker` spawns one per accepted connection. It must never outlive the drain's end, nor take the
//! worker with it when something in it panics.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::config::limits::TLS_HANDSHAKE;
use crate::headers::origin::Scheme;
use crate::proxy::downstream::Downstream;
use crate::proxy::link::Link;
use crate::proxy::refusal::Refusal;
use crate::proxy::view::Bounds;
use crate::proxy::worker::Worker;
use crate::server::drain::Closing;
use crate::server::http1::parked::Parked;
use crate::server::opening::{Manner, Opened, Spoken, open};
use crate::server::socket::Socket;
use crate::server::{http1, http2};
use crate::telemetry::metrics::RefusedConnection;

/// Serves the connection to its end, or until it is to be parked. What it needs at each time is in a box: an idle
/// connection's task is as large as the largest of what it awaits in place.
pub async fn serve(
    worker: Rc<Worker>,
    socket: Socket,
    peer: SocketAddr,
    manner: Manner,
    closing: Rc<Closing>,
) -> Option<Parked> {
    let serving = Box::pin(ready(Rc::clone(&worker), socket, peer, manner, closing)).await?;
    ended(&worker, serving.await)
}

/// Serves one again that was parked.
pub async fn resume(worker: Rc<Worker>, parked: Parked, closing: Rc<Closing>) -> Option<Parked> {
    let serving = parked.wake(Rc::clone(&worker), closing).ok()?;
    ended(&worker, serving.await)
}

fn ended(worker: &Worker, outcome: io::Result<Option<Parked>>) -> Option<Parked> {
    outcome.unwrap_or_else(|error| {
        if error.kind() == io::ErrorKind::TimedOut {
            worker.metrics.rejected(Refusal::SlowReader.reason());
        }
        tracing::debug!(%error, "connection ended");
        None
    })
}

type Serving = Pin<Box<dyn Future<Output = io::Result<Option<Parked>>>>>;

/// A connection that has begun to speak, ready to be served.
async fn ready(
    worker: Rc<Worker>,
    socket: Socket,
    peer: SocketAddr,
    manner: Manner,
    closing: Rc<Closing>,
) -> Option<Serving> {
    socket.set_nodelay();
    let local = socket.local_addr().ok()?;
    let Opened { peer, spoken } = opened(&worker, socket, peer, manner, &closing).await?;
    let bounds = Rc::clone(&worker.view().bounds);
    let link = Rc::new(Link::new(Instant::now()));
    let scheme = if manner.tls { Scheme::Https } else { Scheme::Http };
    let downstream = Downstream::new(Rc::clone(&worker), link, peer.ip(), local, scheme);
    Some(match spoken {
        Spoken::Http1(stream, read) => Box::pin(http1::connection(stream, read, downstream, bounds, closing)),
        Spoken::Http2(socket) => Box::pin(framed(socket, downstream, bounds, closing)),
        Spoken::Http2Tls(stream) => Box::pin(framed(*stream, downstream, bounds, closing)),
    })
}

/// Serves a connection of HTTP/2.
async fn framed<S>(
    socket: S,
    downstream: Downstream,
    bounds: Rc<Bounds>,
    closing: Rc<Closing>,
) -> io::Result<Option<Parked>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    http2::serve(socket, downstream, &bounds, closing).await.map(|()| None).map_err(|error| {
        let of_frames = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
        let kind = of_frames.and_then(h2::Error::get_io).map(io::Error::kind);
        io::Error::new(kind.unwrap_or(io::ErrorKind::Other), error)
    })
}

/// The connection opened within its time, unless the process ends before.
async fn opened(
    worker: &Rc<Worker>,
    socket: Socket,
    peer: SocketAddr,
    manner: Manner,
    closing: &Rc<Closing>,
) -> Option<Opened> {
    // In the clear it looks at the time itself.
    let limit = if manner.tls { TLS_HANDSHAKE } else { Duration::MAX };
    let opening = tokio::time::timeout(limit, open(worker, socket, peer, manner));
    let outcome = tokio::select! {
        outcome = opening => outcome,
        () = closing.begun() => return None,
    };
    let refused = match outcome {
        Ok(Ok(opened)) => return Some(opened),
        Ok(Err(refused)) => refused,
        Err(_) => Some(RefusedConnection::TlsTimeout),
    };
    refused.into_iter().for_each(|reason| worker.metrics.refused(reason));
    None
}
