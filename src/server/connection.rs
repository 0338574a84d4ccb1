//! One visitor's connection: hyper's server on a guarded socket, until either side ends it.
//!
//! `server::worker` spawns one per accepted connection. It must never outlive the drain's end, nor take the
//! worker with it when something in it panics.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::limits::{HYPER_BUFFER, HYPER_FIELDS, Limits};
use crate::headers::origin::Scheme;
use crate::proxy::downstream::Downstream;
use crate::proxy::handle::handle;
use crate::proxy::link::Link;
use crate::proxy::worker::Worker;
use crate::server::drain::Closing;
use crate::server::guard::Guard;

/// Serves the connection to its end.
pub async fn serve(worker: Rc<Worker>, socket: TcpStream, peer: SocketAddr, closing: Rc<Closing>) {
    // What is written is whole: the kernel must not wait for more. A dead socket says so at the first read.
    let _ = socket.set_nodelay(true);
    let Ok(local) = socket.local_addr() else { return };
    let snapshot = worker.snapshot();
    let (limits, timeouts) = (snapshot.config.limits, snapshot.config.timeouts);
    let link = Rc::new(Link::new(Instant::now()));
    let guard = Guard::new(socket, Rc::clone(&link), limits, timeouts);
    let downstream = Rc::new(Downstream::new(worker, link, peer, local, Scheme::Http));
    drop(snapshot);

    let service = service_fn(move |request| handle(Rc::clone(&downstream), request));
    let mut connection = pin!(builder(&limits).serve_connection(TokioIo::new(guard), service));
    let (mut waiting, mut told) = (None, false);
    let outcome = poll_fn(|cx| {
        waiting.get_or_insert_with(|| closing.wake(cx.waker()));
        if closing.has_begun() && !std::mem::replace(&mut told, true) {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    let outcome = match outcome.await {
        // A request that offered an upgrade ends hyper's part before it has closed: closing twice does no harm.
        Ok(()) => connection.await,
        failed => failed,
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "connection ended");
    }
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
