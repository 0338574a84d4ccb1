//! One worker's connections of HTTP/2 to one endpoint, and the place of one stream on one of them.
//!
//! `upstream::pool` asks it first. The first connection with room is taken, so that those no longer needed grow idle
//! and are closed. It must never put more streams on a connection than the backend takes, nor any on one that is
//! going away.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use rustls::pki_types::ServerName;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::config::limits::HTTP2_CONNECTIONS;
use crate::upstream::connect::ConnectError;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::http2::{Driven, is_of_stream};
use crate::upstream::upload::Upload;

/// The shared connections, and those being opened.
#[derive(Debug, Default)]
pub struct Shared {
    links: RefCell<Vec<Rc<Link>>>,
    openings: RefCell<Vec<Opening>>,
    freed: Rc<Notify>,
}

impl Shared {
    /// The place of a stream on a connection that has one left, goes to an address the name has or had lately, and has
    /// this SNI.
    pub fn join(&self, endpoint: &Endpoint, server_name: Option<&ServerName<'static>>) -> Option<Rc<Stream>> {
        let mut links = self.links.borrow_mut();
        links.retain(|link| link.is_open(endpoint));
        let fits = |link: &&Rc<Link>| link.server_name.as_ref() == server_name && link.has_room();
        links.iter().find(fits).map(|link| self.stream(link))
    }

    /// Adds a fresh connection, and takes the place of its first stream.
    pub fn add(
        &self,
        driven: Driven,
        address: Option<SocketAddr>,
        server_name: Option<ServerName<'static>>,
    ) -> Rc<Stream> {
        let since = Cell::new(Instant::now());
        let (taken, carried, retired) = (Cell::new(0), Cell::new(0), Cell::new(false));
        let link = Rc::new(Link { driven, address, server_name, taken, carried, retired, since });
        self.links.borrow_mut().push(Rc::clone(&link));
        self.stream(&link)
    }

    /// How the one connection turns out that is being opened with this SNI; where there is none, `open` begins one.
    /// Nothing where there are as many as there may be.
    pub fn opening<F>(
        self: &Rc<Self>,
        server_name: Option<&ServerName<'static>>,
        open: impl FnOnce() -> F,
    ) -> Option<watch::Receiver<Outcome>>
    where
        F: Future<Output = Result<(), ConnectError>> + 'static,
    {
        let mut openings = self.openings.borrow_mut();
        if let Some(opening) = openings.iter().find(|opening| opening.server_name.as_ref() == server_name) {
            return Some(opening.outcome.clone());
        }
        if openings.len() + self.links.borrow().len() >= HTTP2_CONNECTIONS && !self.evict() {
            return None;
        }
        let (tell, outcome) = watch::channel(None);
        let server_name = server_name.cloned();
        openings.push(Opening { server_name: server_name.clone(), outcome: outcome.clone() });
        let (shared, attempt) = (Rc::clone(self), open());
        // A task of its own: whoever asked first may leave, and others wait.
        tokio::task::spawn_local(async move {
            let opened = attempt.await;
            shared.openings.borrow_mut().retain(|opening| opening.server_name != server_name);
            tell.send_replace(Some(opened));
        });
        Some(outcome)
    }

    /// Waits until a stream has ended.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Lets go what has been idle for longer than `keep`, or goes to an address that the name has long lost; of idle
    /// ones at most `bound` stay.
    pub fn sweep(&self, endpoint: &Endpoint, now: Instant, keep: Duration, bound: usize) {
        let mut idle = 0;
        self.links.borrow_mut().retain(|link| {
            let resting = link.taken.get() == 0;
            idle += usize::from(resting);
            let stays = now.saturating_duration_since(link.since.get()) < keep && idle <= bound;
            link.is_open(endpoint) && (!resting || stays)
        });
    }

    fn stream(&self, link: &Rc<Link>) -> Rc<Stream> {
        link.taken.set(link.taken.get() + 1);
        let reused = link.carried.get() > 0;
        Rc::new(Stream { link: Rc::clone(link), reused, freed: Rc::clone(&self.freed) })
    }

    /// Closes the connection that has been idle the longest; whether there was one.
    fn evict(&self) -> bool {
        let mut links = self.links.borrow_mut();
        let idle = links.iter().enumerate().filter(|(_, link)| link.taken.get() == 0);
        let oldest = idle.min_by_key(|(_, link)| link.since.get()).map(|(at, _)| at);
        oldest.map(|at| links.remove(at)).is_some()
    }
}

/// How a connection turned out; nothing while it is being opened.
pub type Outcome = Option<Result<(), ConnectError>>;

/// The place of one stream on a shared connection; free again when the last of those who hold it lets go.
#[derive(Debug)]
pub struct Stream {
    link: Rc<Link>,
    reused: bool,
    freed: Rc<Notify>,
}

impl Stream {
    /// Whether its connection had carried a whole exchange before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Sends one request and waits for the response's head. Dropped, it resets the stream alone.
    ///
    /// # Errors
    /// With the request where none of it was sent.
    pub async fn send(
        self: &Rc<Self>,
        mut request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        request.body_mut().keep(Rc::clone(self));
        let sent = self.link.driven.sender.clone().try_send_request(request).await;
        if let Err(failed) = &sent
            && !is_of_stream(failed.error())
        {
            self.link.retired.set(true);
        }
        sent
    }

    /// Its exchange is over to its last byte.
    pub fn complete(&self) {
        self.link.carried.set(self.link.carried.get().saturating_add(1));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.link.taken.set(self.link.taken.get() - 1);
        self.link.since.set(Instant::now());
        self.freed.notify_one();
    }
}

#[derive(Debug)]
struct Link {
    driven: Driven,
    address: Option<SocketAddr>,
    server_name: Option<ServerName<'static>>,
    /// Streams on it now.
    taken: Cell<usize>,
    /// Exchanges it has carried to their end.
    carried: Cell<u32>,
    /// Whether it takes no further streams.
    retired: Cell<bool>,
    /// When the last stream ended.
    since: Cell<Instant>,
}

impl Link {
    fn is_open(&self, endpoint: &Endpoint) -> bool {
        let known = self.address.is_none_or(|address| endpoint.has_had(address));
        known && !self.retired.get() && !self.driven.sender.is_closed()
    }

    fn has_room(&self) -> bool {
        self.taken.get() < self.driven.streams()
    }
}

#[derive(Debug)]
struct Opening {
    server_name: Option<ServerName<'static>>,
    outcome: watch::Receiver<Outcome>,
}
