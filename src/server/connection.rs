//! One visitor's connection: opened, then served in the version of HTTP that it speaks, until either side ends it.
//!
//! `server::worker` spawns one per accepted connection. It must never outlive the drain's end, nor take the
//! worker with it when something in it panics.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
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
use crate::server::opening::{Manner, Opened, Spoken, open};
use crate::server::socket::Socket;
use crate::server::{http1, http2};
use crate::telemetry::metrics::RefusedConnection;

/// Serves the connection to its end.
pub async fn serve(
    worker: Rc<Worker>,
    socket: Socket,
    peer: SocketAddr,
    manner: Manner,
    closing: Rc<Closing>,
) {
    socket.set_nodelay();
    let Ok(local) = socket.local_addr() else { return };
    let Some(Opened { peer, spoken }) = Box::pin(opened(&worker, socket, peer, manner, &closing)).await
    else {
        return;
    };
    let bounds = Rc::clone(&worker.view().bounds);
    let link = Rc::new(Link::new(Instant::now()));
    let scheme = if manner.tls { Scheme::Https } else { Scheme::Http };
    let downstream = Downstream::new(Rc::clone(&worker), link, peer, local, scheme);
    // In boxes: an idle connection's task is as large as the largest of what it awaits in place.
    let outcome = match spoken {
        Spoken::Http1(stream, read) => http1::serve(stream, read, downstream, bounds, &closing).await,
        Spoken::Http2(socket) => Box::pin(framed(socket, downstream, &bounds, closing)).await,
        Spoken::Http2Tls(stream) => Box::pin(framed(*stream, downstream, &bounds, closing)).await,
    };
    if let Err(error) = outcome {
        if error.kind() == io::ErrorKind::TimedOut {
            worker.metrics.rejected(Refusal::SlowReader.reason());
        }
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Serves a connection of HTTP/2.
async fn framed<S>(socket: S, downstream: Downstream, bounds: &Bounds, closing: Rc<Closing>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    http2::serve(socket, downstream, bounds, closing).await.map_err(|error| {
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
