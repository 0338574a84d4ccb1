//! One worker's connections to one endpoint, and the lease of one for one exchange: a whole connection of HTTP/1.1, or
//! a stream of a shared one of HTTP/2 (`upstream::streams`).
//!
//! `proxy::forward` takes from it, bodies give back to it when their last byte has come. Last in, first out,
//! so that connections no longer needed grow old and are closed by us before the platform does. It must never
//! be shared between threads, nor hand out a connection that is known to be closed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};

use crate::config::limits::CLOSE_SHOWS;
use crate::config::limits::health::ANSWERS_AT_ONCE;
use crate::config::model::Http2;
use crate::health::vitals::How;
use crate::upstream::connect::{ConnectError, ConnectLimits, Connected, Protocol, connect};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::http1::Connection;
use crate::upstream::lease::{Carrier, Lease, PooledLink};
use crate::upstream::streams::Shared;

/// The connections of one worker to one endpoint.
#[derive(Debug)]
pub struct Pool {
    endpoint: Arc<Endpoint>,
    idle: RefCell<Vec<Idle>>,
    shared: Rc<Shared>,
    /// Whether connections may be shared, as far as known: what a backend chooses shows with the first.
    shares: Cell<bool>,
    bound: Cell<usize>,
    turn: Cell<usize>,
    /// Answers that only this worker has counted so far.
    answers: Cell<u32>,
}

impl Pool {
    /// An empty pool that keeps at most `bound` idle connections.
    pub fn new(endpoint: Arc<Endpoint>, bound: usize) -> Self {
        let shares = Cell::new(match endpoint.http2 {
            Http2::Always => true,
            Http2::Auto => endpoint.tls.is_some(),
            Http2::Never => false,
        });
        let (idle, shared) = (RefCell::default(), Rc::default());
        Self {
            endpoint,
            idle,
            shared,
            shares,
            bound: Cell::new(bound),
            turn: Cell::new(0),
            answers: Cell::new(0),
        }
    }

    /// From now on it keeps at most `bound`.
    pub fn keep_at_most(&self, bound: usize) {
        self.bound.set(bound);
    }

    /// Whose connections these are.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The backend has answered, and not in a way that counts as a gateway's failure.
    pub fn did_well(&self) {
        let vitals = &self.endpoint.vitals;
        let answers = self.answers.get() + 1;
        let tells = answers >= ANSWERS_AT_ONCE;
        self.answers.set(if tells { 0 } else { answers });
        if tells {
            vitals.answered(answers);
        }
        vitals.did_well();
    }

    /// A gateway's failure, which is seen beside all the answers that came before it.
    pub fn failed(&self, how: How) {
        self.endpoint.vitals.answered(self.answers.take());
        self.endpoint.vitals.failed(how);
    }

    /// No connection could be had, and this machine isn't to blame.
    pub fn unreached(&self, how: How) {
        self.endpoint.vitals.answered(self.answers.take());
        self.endpoint.vitals.unreached(how);
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
            let candidate = &mut idle[at];
            if !candidate.is_good(&self.endpoint, now, keep) {
                idle.remove(at);
            } else if candidate.serves(server_name) && (!proven || candidate.is_proven(now)) {
                return Some(idle.remove(at).lease(self));
            }
        }
        None
    }

    /// A stream of a connection that is shared and has one left.
    pub fn join(self: &Rc<Self>, server_name: Option<&ServerName<'static>>) -> Option<Lease> {
        if !self.shares.get() {
            return None;
        }
        let stream = self.shared.join(&self.endpoint, server_name)?;
        Some(Lease::new(Carrier::Http2(stream, None), self))
    }

    /// A fresh connection, or a stream of one that is opened for all who wait for one.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn open(
        self: &Rc<Self>,
        server_name: Option<&ServerName<'static>>,
        limits: ConnectLimits,
    ) -> Result<Lease, ConnectError> {
        let deadline = Instant::now() + limits.connect;
        while self.shares.get() {
            if let Some(lease) = self.join(server_name) {
                return Ok(lease);
            }
            let open = || Rc::clone(self).open_for_all(server_name.cloned(), limits);
            let Some(mut opening) = self.shared.opening(server_name, open) else {
                timeout_at(deadline, self.shared.freed()).await.map_err(|_| ConnectError::Timeout)?;
                continue;
            };
            tokio::select! {
                outcome = timeout_at(deadline, opening.wait_for(Option::is_some)) => {
                    let outcome = outcome.map_err(|_| ConnectError::Timeout)?;
                    // Whoever opens it ends without a word only with its thread.
                    outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or(Err(ConnectError::Timeout))?;
                }
                () = self.shared.freed() => {}
            }
        }
        // What was opened for all and turned out to be for one.
        match self.reuse_unused(server_name) {
            Some(lease) => Ok(lease),
            None => self.open_alone(server_name, limits).await,
        }
    }

    /// A fresh connection of HTTP/1.1 whatever else the backend speaks: what takes a connection over, as a WebSocket
    /// does, can't share one.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn open_http1(
        self: &Rc<Self>,
        server_name: Option<&ServerName<'static>>,
        limits: ConnectLimits,
    ) -> Result<Lease, ConnectError> {
        self.connect(server_name, Http2::Never, limits).await
    }

    /// Closes what has been idle for longer than `keep`, or goes to an address that the name has long lost.
    pub fn sweep(&self, now: Instant, keep: Duration) {
        self.idle.borrow_mut().retain_mut(|idle| idle.is_good(&self.endpoint, now, keep));
        self.shared.sweep(&self.endpoint, now, keep, self.bound.get());
    }

    async fn open_for_all(
        self: Rc<Self>,
        server_name: Option<ServerName<'static>>,
        limits: ConnectLimits,
    ) -> Result<(), ConnectError> {
        let lease = self.open_alone(server_name.as_ref(), limits).await?;
        match lease.into_carrier() {
            Carrier::Http1 { connection, link } => self.put(connection, link),
            Carrier::Http2(..) => {}
        }
        Ok(())
    }

    async fn open_alone(
        self: &Rc<Self>,
        server_name: Option<&ServerName<'static>>,
        limits: ConnectLimits,
    ) -> Result<Lease, ConnectError> {
        let lease = self.connect(server_name, self.endpoint.http2, limits).await?;
        self.shares.set(lease.version() == Version::HTTP_2);
        Ok(lease)
    }

    async fn connect(
        self: &Rc<Self>,
        server_name: Option<&ServerName<'static>>,
        http2: Http2,
        limits: ConnectLimits,
    ) -> Result<Lease, ConnectError> {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        // In a box, 10 KB: every request has room for what it awaits, and few open a connection.
        let connected = Box::pin(connect(&self.endpoint, server_name, turn, http2, limits)).await?;
        let (Connected { protocol, address }, server_name) = (connected, server_name.cloned());
        let carrier = match protocol {
            Protocol::Http1(connection) => {
                let link = PooledLink { address, server_name, exchanges: 0, promised: None };
                Carrier::Http1 { connection, link }
            }
            Protocol::Http2(driven) => Carrier::Http2(self.shared.add(driven, address, server_name), None),
        };
        Ok(Lease::new(carrier, self))
    }

    fn reuse_unused(self: &Rc<Self>, server_name: Option<&ServerName<'static>>) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let unused = |idle: &Idle| idle.link.exchanges == 0 && idle.serves(server_name);
        let at = idle.iter().rposition(unused)?;
        Some(idle.remove(at).lease(self))
    }

    /// Keeps a connection for the next exchange.
    pub(super) fn put(&self, connection: Box<Connection>, link: PooledLink) {
        let mut pool = self.idle.borrow_mut();
        pool.push(Idle { connection, link, since: Instant::now() });
        // The oldest is the least likely to be used before its time.
        let over = pool.len().saturating_sub(self.bound.get());
        pool.drain(..over);
    }
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    link: PooledLink,
    since: Instant,
}

impl Idle {
    fn lease(self, pool: &Rc<Pool>) -> Lease {
        let Self { connection, link, .. } = self;
        Lease::new(Carrier::Http1 { connection, link }, pool)
    }

    fn is_good(&mut self, endpoint: &Endpoint, now: Instant, keep: Duration) -> bool {
        let keep = self.link.promised.map_or(keep, |promised| promised.min(keep));
        now.saturating_duration_since(self.since) < keep
            && self.link.address.is_none_or(|address| endpoint.has_had(address))
            && !self.connection.is_stale()
    }

    fn serves(&self, server_name: Option<&ServerName<'static>>) -> bool {
        self.link.server_name.as_ref() == server_name
    }

    /// Whether a backend that closes after each answer would have been found out by now.
    fn is_proven(&self, now: Instant) -> bool {
        self.link.exchanges != 1 || now.saturating_duration_since(self.since) >= CLOSE_SHOWS
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::config::model::EndpointUrl;
    use crate::headers::origin::Scheme;
    use crate::health::vitals::Vitals;
    use crate::upstream::tls;

    /// A server's side of TLS that prefers HTTP/2, and its certificate.
    fn server() -> (Arc<ServerConfig>, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = tls::protocols(Http2::Auto);
        (Arc::new(config), certificate.pem())
    }

    #[test]
    fn http1_can_be_had_from_a_backend_that_prefers_http2() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (config, pem) = server();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let accepted = tokio::task::spawn_local(async move {
                let socket = listener.accept().await.unwrap().0;
                let stream = TlsAcceptor::from(config).accept(socket).await.unwrap();
                stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
            });
            let url = EndpointUrl::Network { scheme: Scheme::Https, host: "localhost".to_owned(), port };
            let client = tls::with_ca_file(Path::new("ca.pem"), pem.as_bytes(), Http2::Auto).unwrap();
            let endpoint = Endpoint::new(1, url, Http2::Auto, Some(client), Vitals::default()).unwrap();
            endpoint.publish(vec![([127, 0, 0, 1], port).into()], std::time::Instant::now());
            let pool = Rc::new(Pool::new(Arc::new(endpoint), 1));
            let limit = Duration::from_secs(5);
            let limits = ConnectLimits { connect: limit, write: limit, header_count: 100 };
            let server_name = ServerName::try_from("localhost").unwrap();
            let lease = pool.open_http1(Some(&server_name), limits).await.unwrap();
            assert_eq!(lease.version(), Version::HTTP_11);
            assert_eq!(accepted.await.unwrap().as_deref(), Some(tls::HTTP_11));
        });
    }
}
