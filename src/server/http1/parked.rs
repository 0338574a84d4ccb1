//! A connection that has been silent for a while: its socket and a few facts, without a task, a timer or a buffer.
//!
//! `server::http1` makes one between two requests, `server::parking` keeps it, `server::worker` has it served again. It
//! must never have a byte read that isn't answered.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::headers::origin::Scheme;
use crate::proxy::downstream::Downstream;
use crate::proxy::link::Link;
use crate::proxy::view::Bounds;
use crate::proxy::worker::Worker;
use crate::server::drain::Closing;
use crate::server::http1;
use crate::server::socket::{Idle, Stream};

/// One that can be served again.
#[derive(Debug)]
pub struct Parked {
    socket: Idle,
    peer: IpAddr,
    local: SocketAddr,
    bounds: Rc<Bounds>,
    /// Silent since then.
    since: Instant,
}

impl Parked {
    /// Of a `stream` in the clear from which all has been read; nothing where its end is found out now.
    pub fn of(stream: Stream, downstream: &Downstream, bounds: Rc<Bounds>, since: Instant) -> Option<Self> {
        let socket = stream.rest()?;
        Some(Self { socket, peer: downstream.peer.address, local: downstream.local, bounds, since })
    }

    /// When its time is over.
    pub fn due(&self) -> Instant {
        self.since + self.bounds.timeouts.keep_alive
    }

    /// Serves it again.
    ///
    /// # Errors
    /// When the runtime can't take it.
    pub fn wake(
        self,
        worker: Rc<Worker>,
        closing: Rc<Closing>,
    ) -> io::Result<impl Future<Output = io::Result<Option<Self>>>> {
        let Self { socket, peer, local, bounds, since } = self;
        let stream = Stream::Clear(socket.wake()?);
        let downstream = Downstream::new(worker, Rc::new(Link::idle(since)), peer, local, Scheme::Http);
        Ok(http1::connection(stream, BytesMut::new(), downstream, bounds, closing))
    }
}

impl AsFd for Parked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
