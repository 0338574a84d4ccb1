//! One worker's idle connections to one endpoint, and the lease of one connection for one exchange.
//!
//! `proxy::forward` takes from it, bodies give back to it when their last byte has come. Last in, first out,
//! so that connections no longer needed grow old and are closed by us before the platform does. It must never
//! be shared between threads, nor hand out a connection that is known to be closed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1::SendRequest};
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use crate::config::limits::CLOSE_SHOWS;
use crate::upstream::connect::{ConnectError, ConnectLimits, connect};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::upload::Upload;

/// The connections of one worker to one endpoint.
#[derive(Debug)]
pub struct Pool {
    endpoint: Arc<Endpoint>,
    idle: RefCell<Vec<Idle>>,
    bound: Cell<usize>,
    turn: Cell<usize>,
}

impl Pool {
    /// An empty pool that keeps at most `bound` idle connections.
    pub fn new(endpoint: Arc<Endpoint>, bound: usize) -> Self {
        Self { endpoint, idle: RefCell::new(Vec::new()), bound: Cell::new(bound), turn: Cell::new(0) }
    }

    /// From now on it keeps at most `bound`.
    pub fn keep_at_most(&self, bound: usize) {
        self.bound.set(bound);
    }

    /// Whose connections these are.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The connection used last that is still good: open, ready, to an address the name has or had lately, with this
    /// SNI. What can't be sent twice asks for a `proven` one, see [`CLOSE_SHOWS`].
    pub fn reuse(
        self: &Rc<Self>,
        server_name: Option<&ServerName<'static>>,
        keep: Duration,
        proven: bool,
    ) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let candidate = &idle[at];
            if !candidate.is_good(&self.endpoint, now, keep) {
                idle.remove(at);
            } else if candidate.serves(server_name) && (!proven || candidate.is_proven(now)) {
                let Idle { sender, link, .. } = idle.remove(at);
                return Some(Lease { sender, pool: Rc::clone(self), link });
            }
        }
        None
    }

    /// A fresh connection.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn open(
        self: &Rc<Self>,
        server_name: Option<&ServerName<'static>>,
        limits: ConnectLimits,
    ) -> Result<Lease, ConnectError> {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let connected = connect(&self.endpoint, server_name, turn, limits).await?;
        let server_name = server_name.cloned();
        let link =
            PooledLink { address: connected.address, server_name, exchanges: 0, promised: None, last: false };
        Ok(Lease { sender: connected.sender, pool: Rc::clone(self), link })
    }

    /// Closes what has been idle for longer than `keep`, or goes to an address that the name has long lost.
    pub fn sweep(&self, now: Instant, keep: Duration) {
        self.idle.borrow_mut().retain(|idle| idle.is_good(&self.endpoint, now, keep));
    }

    fn put(&self, idle: Idle) {
        let mut pool = self.idle.borrow_mut();
        pool.push(idle);
        // The oldest is the least likely to be used before its time.
        let over = pool.len().saturating_sub(self.bound.get());
        pool.drain(..over);
    }
}

/// A connection for the time of one exchange. Dropped, it closes; given back, it waits for the next.
#[derive(Debug)]
pub struct Lease {
    sender: SendRequest<Upload>,
    pool: Rc<Pool>,
    link: PooledLink,
}

impl Lease {
    /// Whether it carried an exchange before: only then may the backend have closed it behind our back.
    pub fn is_reused(&self) -> bool {
        self.link.exchanges > 0
    }

    /// Sends one request and waits for the response's head.
    ///
    /// # Errors
    /// With the request where none of it was sent.
    pub async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        self.sender.try_send_request(request).await
    }

    /// The backend has said how long it keeps an idle connection (`Keep-Alive: timeout`); we let go a second
    /// before it does.
    pub fn is_kept_for(&mut self, timeout: Duration) {
        self.link.promised = Some(timeout.saturating_sub(Duration::from_secs(1)));
    }

    /// It carries no further exchange.
    pub fn is_last(&mut self) {
        self.link.last = true;
    }

    /// The exchange is over to its last byte, both ways.
    pub fn give_back(self) {
        let Self { sender, pool, mut link } = self;
        if !sender.is_closed() && !link.last {
            link.exchanges = link.exchanges.saturating_add(1);
            pool.put(Idle { sender, link, since: Instant::now() });
        }
    }
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Upload>,
    link: PooledLink,
    since: Instant,
}

impl Idle {
    fn is_good(&self, endpoint: &Endpoint, now: Instant, keep: Duration) -> bool {
        let keep = self.link.promised.map_or(keep, |promised| promised.min(keep));
        !self.sender.is_closed()
            && now.saturating_duration_since(self.since) < keep
            && endpoint.has_had(self.link.address)
    }

    fn serves(&self, server_name: Option<&ServerName<'static>>) -> bool {
        self.sender.is_ready() && self.link.server_name.as_ref() == server_name
    }

    /// Whether a backend that closes after each answer would have been found out by now.
    fn is_proven(&self, now: Instant) -> bool {
        self.link.exchanges > 1 || now.saturating_duration_since(self.since) >= CLOSE_SHOWS
    }
}

/// What a connection is beside its stream.
#[derive(Debug)]
struct PooledLink {
    address: std::net::SocketAddr,
    server_name: Option<ServerName<'static>>,
    /// How many it has carried.
    exchanges: u32,
    /// How long it may idle by the backend's own word.
    promised: Option<Duration>,
    /// Whether it ends with this exchange.
    last: bool,
}
