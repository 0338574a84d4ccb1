//! One visitor's connection: opened, then served by hyper, until either side ends it.
//!
//! `server::worker` spawns one per accepted connection. It must never outlive the drain's end, nor take the
//! worker with it when something in it panics.

use std::cell::OnceCell;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::config::limits::{HYPER_BUFFER, HYPER_FIELDS, Limits, TLS_HANDSHAKE, Timeouts};
use crate::headers::origin::Scheme;
use crate::proxy::downstream::Downstream;
use crate::proxy::handle::handle;
use crate::proxy::link::Link;
use crate::proxy::refusal::Refusal;
use crate::proxy::tunnel::{Slot, Tunnel};
use crate::proxy::worker::Worker;
use crate::server::drain::{Closing, Waiting};
use crate::server::guard::Guard;
use crate::server::http2;
use crate::server::opening::{Manner, Opened, Spoken, open};
use crate::server::socket::Socket;
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
    let snapshot = worker.snapshot();
    let (limits, timeouts) = (snapshot.config.limits, snapshot.config.timeouts);
    drop(snapshot);
    let link = Rc::new(Link::new(Instant::now()));
    let scheme = if manner.tls { Scheme::Https } else { Scheme::Http };
    let downstream = Downstream::new(worker, link, peer, local, scheme);
    let bounds = Bounds { limits, timeouts, closing };
    let worker = Rc::clone(&downstream.worker);
    // In boxes: an idle connection's task is as large as the largest of what it awaits in place.
    let outcome = match spoken {
        Spoken::Http1(socket, read) => serve_http1(socket, read, downstream, bounds).await,
        Spoken::Http1Tls(stream) => serve_http1(stream, BytesMut::new(), downstream, bounds).await,
        Spoken::Http2(socket) => Box::pin(http2::serve(socket, downstream, bounds)).await,
        Spoken::Http2Tls(stream) => Box::pin(http2::serve(*stream, downstream, bounds)).await,
    };
    if let Err(error) = outcome {
        if took_too_long(&error) {
            worker.metrics.rejected(Refusal::SlowReader.reason());
        }
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Whether the visitor took too long with what was written to it.
fn took_too_long(error: &hyper::Error) -> bool {
    let Some(cause) = error.source() else { return false };
    let of_frames = cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
    let io = cause.downcast_ref::<io::Error>().or(of_frames);
    io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
}

/// What bounds a connection: those in force when it was opened.
#[derive(Debug)]
pub struct Bounds {
    /// Sizes and counts.
    pub limits: Limits,
    /// Waits.
    pub timeouts: Timeouts,
    /// The drain.
    pub closing: Rc<Closing>,
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

async fn serve_http1<S>(
    socket: S,
    read: BytesMut,
    downstream: Downstream,
    bounds: Bounds,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Bounds { limits, timeouts, closing } = bounds;
    let link = Rc::clone(&downstream.link);
    let slot = Rc::new(Slot::default());
    let downstream = Rc::new(downstream.with_tunnel(&slot));
    let mut guard = Guard::new(socket, read, link, &downstream.worker, limits, timeouts);
    let waiting = OnceCell::new();
    loop {
        guard = match Box::pin(converse(guard, &downstream, &limits, &closing, &waiting)).await {
            Conversed::Rests(guard) => guard,
            Conversed::Ended(outcome) => return outcome,
            Conversed::Switched(tunnel, socket, early) => {
                // Whoever is woken by the drain is this task.
                Box::pin(tunnel.run(socket, early, || closing.leaves())).await;
                return Ok(());
            }
        };
        if !rest(&mut guard, &closing).await {
            return Ok(());
        }
    }
}

/// How hyper's part of a connection ends.
#[allow(clippy::large_enum_variant, reason = "it is looked at once and gone")]
enum Conversed<S> {
    /// For now: the visitor has nothing to ask.
    Rests(Guard<S>),
    /// With the connection.
    Ended(hyper::Result<()>),
    /// With a 101; what came on the socket already follows it.
    Switched(Box<Tunnel>, S, Bytes),
}

/// hyper serves the connection: until it rests, which costs nothing of this.
async fn converse<S>(
    guard: Guard<S>,
    downstream: &Rc<Downstream>,
    limits: &Limits,
    closing: &Rc<Closing>,
    waiting: &OnceCell<Waiting>,
) -> Conversed<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let link = &downstream.link;
    let service = {
        let downstream = Rc::clone(downstream);
        service_fn(move |request| handle(Rc::clone(&downstream), request))
    };
    let mut connection = builder(limits).serve_connection(TokioIo::new(guard), service);
    let mut told = false;
    let outcome = poll_fn(|cx| {
        waiting.get_or_init(|| closing.wake(cx.waker()));
        let mut outcome = Pin::new(&mut connection).poll(cx);
        // What had come is read by now. It would write `close` into a 101; any other answer brings its own.
        let goes_on = outcome.is_pending() && !link.rests() && !link.is_held();
        if goes_on && closing.has_begun() && !std::mem::replace(&mut told, true) {
            Pin::new(&mut connection).graceful_shutdown();
            outcome = Pin::new(&mut connection).poll(cx);
        }
        match outcome {
            Poll::Pending if link.rests() => Poll::Ready(None),
            outcome => outcome.map(Some),
        }
    });
    let Some(outcome) = outcome.await else {
        let parts = connection.into_parts();
        return Conversed::Rests(parts.io.into_inner().with(&parts.read_buf));
    };
    match (outcome, downstream.tunnel.upgrade().and_then(|slot| slot.take())) {
        (Ok(()), Some(tunnel)) => {
            let (socket, early) = left_by(connection.into_parts());
            Conversed::Switched(tunnel, socket, early)
        }
        // A request that offered an upgrade ends hyper's part before it has closed: closing twice does no harm.
        (Ok(()), None) => Conversed::Ended(connection.await),
        (failed, _) => Conversed::Ended(failed),
    }
}

/// Waits for the visitor's next word, without a buffer; says whether there is one. If not, the connection is closed.
async fn rest<S>(guard: &mut Guard<S>, closing: &Closing) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut spoke = is_roused(guard, closing).await;
    if !spoke && closing.has_begun() {
        // A request may have come that only the kernel knows of: the runtime asks it now.
        tokio::task::yield_now().await;
        spoke = is_roused(guard, closing).await;
    }
    if !spoke {
        // There is nobody left to tell.
        let _ = guard.shutdown().await;
    }
    spoke
}

/// Whether the visitor speaks, rather than that it goes or has to.
async fn is_roused<S>(guard: &mut Guard<S>, closing: &Closing) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let roused = poll_fn(|cx| match guard.poll_rest(cx) {
        // What came before is served.
        Poll::Pending if closing.has_begun() => Poll::Ready(false),
        outcome => outcome,
    });
    roused.await
}

/// What HTTP leaves behind: the socket, and what came on it already. hyper's buffers end here, not with the tunnel.
fn left_by<I, S>(parts: http1::Parts<TokioIo<Guard<I>>, S>) -> (I, Bytes)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let (socket, pending) = parts.io.into_inner().into_inner();
    (socket, [&parts.read_buf[..], &pending].concat().into())
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The guard has deadlines for heads and idling; a head of full size fits beside what follows it.
    builder.header_read_timeout(None).max_buf_size(HYPER_BUFFER.max(limits.head_size + 8 * 1024));
    if limits.header_count > HYPER_FIELDS {
        builder.max_headers(limits.header_count);
    }
    builder
}
