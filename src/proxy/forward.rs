//! Sends a request to its backend and waits for the response's head, in as many attempts as are harmless.
//!
//! `handle` calls it once everything is decided. It must never send twice what could act twice, nor lose a
//! request to a connection that the backend had just closed.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use rustls::pki_types::ServerName;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::limits::ACCEPT_PAUSE;
use crate::config::model::BackendIndex;
use crate::headers::outgoing::Ours;
use crate::headers::{hop_by_hop, length, upgrade};
use crate::proxy::error::{Error, Failure};
use crate::proxy::exchange::Exchange;
use crate::proxy::gate;
use crate::proxy::interim::Prelude;
use crate::proxy::patience::Patience;
use crate::proxy::retry::{Attempt, Fate, Repeat, had_its_chance, may_follow, may_leave};
use crate::proxy::sending::send;
use crate::proxy::shed::Shed;
use crate::proxy::view::{BackendView, View};
use crate::proxy::{verdict, wire};
use crate::snapshot::{Backend, Host};
use crate::upstream::connect::{ConnectError, ConnectLimits};
use crate::upstream::endpoint::sni;
use crate::upstream::http1::request::Besides;
use crate::upstream::lease::Lease;
use crate::upstream::pool::Pool;
use crate::upstream::unanswered::Unanswered;
use crate::upstream::upload::Upload;

/// A request as the backend is to get it, but for `Host`, which is the endpoint's to say.
#[derive(Debug)]
pub struct Outbound {
    /// Which backend.
    pub backend: BackendIndex,
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Its fields.
    pub headers: HeaderMap,
    /// … and those that are ours.
    pub ours: Box<Ours>,
    /// Its body.
    pub upload: Upload,
    /// Whether the visitor waits for `100 Continue`.
    pub expects_continue: bool,
    /// The visitor's own `Host`, for backends that want it.
    pub visitor_host: HeaderValue,
}

/// A response's head, and the connection that brings its body.
pub type Forwarded = (Response<()>, Lease);

/// Forwards one request.
///
/// # Errors
/// What the last attempt failed by.
pub async fn forward(exchange: &mut Exchange, outbound: Outbound) -> Result<Forwarded, Error> {
    let view = Rc::clone(&exchange.view);
    let backend = exchange.leaves_out().unwrap_or(outbound.backend);
    let repeat = Repeat::of(&outbound.method);
    gate::enter(exchange, backend).await?;
    let mut target = Target::new(&view, backend, outbound.visitor_host.clone(), exchange.upgrades);
    let (mut request, ours, go_ahead) = outbound.into_request(exchange);
    // Whether a backend may have acted on it.
    let mut acted = false;
    loop {
        let light = repeat.may() && request.body().is_end_stream();
        let mut lease = match target.lease(exchange, light).await {
            Ok(lease) => lease,
            Err(Error::Backend(failure)) => {
                let may = may_leave(Fate::NotConnected, acted, repeat);
                let backend = may.then(|| exchange.falls_back(failure)).flatten();
                let backend = backend.ok_or(Error::Backend(failure))?;
                gate::enter(exchange, backend).await?;
                target = Target::new(&view, backend, target.visitor_host, exchange.upgrades);
                continue;
            }
            Err(error) => return Err(error),
        };
        let endpoint = target.pool().endpoint();
        let has_body = exchange.upload().is_some();
        wire::fit(&mut request, lease.version(), &target.host, endpoint.url.scheme(), has_body);
        let prelude = hear(exchange, lease.version(), go_ahead.clone());
        let most = view.snapshot.config.limits.replay_size;
        let replay = may_be_lost(&lease, repeat, &request).then(|| copy_of(&request, most));
        lease.reads(exchange.takes(0));
        let to = Besides { host: &target.host, ours: Some(&ours) };
        let failed = match send(exchange, &mut lease, request, to, target.patience, prelude).await? {
            Ok(response) => {
                replay.iter().for_each(|replay| replay.body().forget());
                let most = view.snapshot.config.limits.header_count;
                let response = checked(response, most, exchange.upgrades);
                let response = response.inspect_err(|error| verdict::failed(target.pool(), *error))?;
                verdict::answered(exchange, target.pool(), response.status(), response.headers());
                if let Some(timeout) = hop_by_hop::keep_alive_timeout(response.headers()) {
                    lease.is_kept_for(timeout);
                }
                return Ok((response, lease));
            }
            Err(failed) => failed,
        };
        let Lost { fate, failure, again } = lost(exchange, failed, &lease, replay)?;
        let attempt = Attempt { number: target.attempts, fate, whole: again.is_some(), repeat };
        request = again.ok_or(Error::Backend(failure))?;
        let chance = had_its_chance(attempt);
        if !chance && tries_again(exchange, attempt, failure) {
            target.fresh = true;
        } else if may_leave(fate, acted, repeat)
            && let Some(backend) = exchange.falls_back(failure)
        {
            gate::enter(exchange, backend).await?;
            target = Target::new(&view, backend, target.visitor_host, exchange.upgrades);
        } else if chance && tries_again(exchange, attempt, failure) {
            target.fresh = true;
        } else {
            return Err(Error::Backend(failure));
        }
        acted |= fate.may_have_acted();
    }
}

impl Outbound {
    /// The same for another backend, without a body.
    pub fn again(&self, backend: BackendIndex) -> Self {
        Self {
            backend,
            method: self.method.clone(),
            uri: self.uri.clone(),
            headers: self.headers.clone(),
            ours: self.ours.clone(),
            upload: Upload::none(),
            expects_continue: false,
            visitor_host: self.visitor_host.clone(),
        }
    }

    /// The request, our fields, and what lets its body go where that waits for the backend's `100 Continue`.
    fn into_request(self, exchange: &Exchange) -> (Request<Upload>, Box<Ours>, Option<Arc<Notify>>) {
        let mut request = Request::new(self.upload);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        let Some(upload) = exchange.upload() else { return (request, self.ours, None) };
        let waits = self.expects_continue && upload.ended().is_none();
        let go_ahead = waits.then(Arc::<Notify>::default);
        if let Some(go_ahead) = &go_ahead {
            request.body_mut().wait_for(Arc::clone(go_ahead));
        }
        (request, self.ours, go_ahead)
    }
}

/// Whether a connection may lose the request without the backend's having acted on it, and a copy can be sent then.
fn may_be_lost(lease: &Lease, repeat: Repeat, request: &Request<Upload>) -> bool {
    match lease.version() {
        // By GOAWAY or a refused stream, which a backend says of requests that it didn't touch.
        Version::HTTP_2 => true,
        // Without a body it comes back.
        _ => repeat.may() && !request.body().is_none(),
    }
}

/// What is done with what the backend says before its response. Over HTTP/2 hyper tells of nothing, so nothing waits.
fn hear(exchange: &Exchange, version: Version, go_ahead: Option<Arc<Notify>>) -> Prelude {
    if version == Version::HTTP_2 {
        go_ahead.iter().for_each(|go_ahead| go_ahead.notify_one());
        return Prelude::default();
    }
    let link = &exchange.downstream.link;
    let heard = exchange.takes_interim().then(|| Rc::clone(link));
    heard.iter().for_each(|link| link.interim.open());
    Prelude::new(go_ahead, heard)
}

/// Where a request goes.
struct Target<'a> {
    backend: &'a Backend,
    view: &'a BackendView,
    visitor_host: HeaderValue,
    /// Which of the backend's endpoints.
    turn: usize,
    /// How long all attempts here may take.
    patience: Patience,
    /// Whether a connection used before won't do any more.
    fresh: bool,
    /// Whether the connection has to become a tunnel, which only one of HTTP/1.1 can.
    upgrades: bool,
    /// How often it was tried here.
    attempts: u32,
    /// Endpoints that couldn't be reached.
    unreachable: usize,
    host: HeaderValue,
    server_name: Option<Cow<'a, ServerName<'static>>>,
}

impl<'a> Target<'a> {
    fn new(
        view: &'a View,
        BackendIndex(at): BackendIndex,
        visitor_host: HeaderValue,
        upgrades: bool,
    ) -> Self {
        let (backend, view) = (&view.snapshot.backends[at], &view.backends[at]);
        let host = visitor_host.clone();
        let turn = view.next_turn();
        let (fresh, server_name) = (false, None);
        let (attempts, unreachable) = (0, 0);
        let patience = Patience::of(&backend.timeouts, Instant::now());
        let mut target = Self {
            backend,
            view,
            visitor_host,
            turn,
            patience,
            fresh,
            upgrades,
            attempts,
            unreachable,
            host,
            server_name,
        };
        target.name();
        target
    }

    fn pool(&self) -> &'a Rc<Pool> {
        &self.view.pools[self.turn]
    }

    /// `Host` and SNI, which may depend on the endpoint.
    fn name(&mut self) {
        let endpoint = self.pool().endpoint();
        self.host = match &self.backend.host {
            Host::Own => endpoint.authority.clone(),
            Host::Preserve => self.visitor_host.clone(),
            Host::Fixed(host) => host.clone(),
        };
        self.server_name = match &self.backend.host {
            _ if endpoint.tls.is_none() => None,
            Host::Own => endpoint.server_name.as_ref().map(Cow::Borrowed),
            // SNI follows `Host`; where that can't be a server's name, the endpoint's own is used.
            Host::Preserve => sni(&self.host).map(Cow::Owned),
            Host::Fixed(_) => self.backend.server_name.as_ref().map(Cow::Borrowed),
        };
        if self.server_name.is_none() {
            self.server_name = endpoint.server_name.as_ref().map(Cow::Borrowed);
        }
    }

    /// A connection: one used before where there is a good one, else a fresh one, to the next endpoint where this
    /// one can't be reached. A `light` request has no body, and may be sent again.
    async fn lease(&mut self, exchange: &mut Exchange, light: bool) -> Result<Lease, Error> {
        loop {
            exchange.attempts += 1;
            self.attempts += 1;
            if let Some(lease) = self.existing(light && !exchange.downstream.worker.budget.is_low()).await {
                return Ok(lease);
            }
            let failure = match self.open(exchange).await {
                Ok(lease) => return Ok(lease),
                Err(Error::Backend(failure)) => failure,
                Err(error) => return Err(error),
            };
            self.unreachable += 1;
            let others = self.unreachable < self.view.pools.len();
            let (number, fate, repeat) = (self.attempts, Fate::NotConnected, Repeat::Never);
            let again = others && may_follow(Attempt { number, fate, whole: true, repeat });
            if !(again && exchange.tries_again(fate, failure)) {
                return Err(Error::Backend(failure));
            }
            self.turn = self.view.turn_after(self.turn);
            self.name();
        }
    }

    async fn existing(&self, repeatable: bool) -> Option<Lease> {
        if !repeatable {
            // What can't well be sent twice gets a look at whether the backend has closed: yielding lets the runtime
            // ask the kernel, and the connection's own task hear of it, before one is taken.
            tokio::task::yield_now().await;
        }
        let (pool, server_name) = (self.pool(), self.server_name.as_deref());
        // A shared one that lost a request takes no other.
        let shared = if self.upgrades { None } else { pool.join(server_name) };
        shared.or_else(|| {
            if self.fresh { None } else { pool.reuse(server_name, self.backend.keep(), !repeatable) }
        })
    }

    async fn open(&self, exchange: &mut Exchange) -> Result<Lease, Error> {
        let (connect, cut) = self.patience.to_connect(Instant::now(), exchange.upload());
        let limits = ConnectLimits {
            connect,
            write: exchange.view.snapshot.config.timeouts.idle_body,
            header_count: exchange.view.snapshot.config.limits.header_count,
        };
        let began = Instant::now();
        let mut opened = self.connect(limits).await;
        if let Err(ConnectError::Descriptors) = opened {
            exchange.view.let_go_of_idle(began);
            // By then the kernel has those that this worker kept for later.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            opened = self.connect(limits).await;
        }
        match opened {
            Ok(lease) => {
                let took = began.elapsed();
                if !lease.is_reused() {
                    self.view.series.connect(took);
                }
                self.pool().endpoint().vitals.reached();
                exchange.connected(took);
                Ok(lease)
            }
            Err(error) => {
                if !(cut && matches!(error, ConnectError::Timeout)) {
                    verdict::unreached(self.pool(), &error);
                }
                tracing::debug!(endpoint = %self.pool().endpoint().url, %error, "no connection");
                let failure = Failure::of_connect(&error).ok_or(Error::Shed(Shed::Descriptors))?;
                Err(Error::Backend(failure))
            }
        }
    }

    async fn connect(&self, limits: ConnectLimits) -> Result<Lease, ConnectError> {
        let server_name = self.server_name.as_deref();
        match self.upgrades {
            true => self.pool().open_http1(server_name, limits).await,
            false => self.pool().open(server_name, limits).await,
        }
    }
}

/// A second copy of a request, for when the connection turns out to have been closed behind our back, or the backend
/// refuses it. A body is still one, of which the beginning is remembered, at `most` so many bytes.
fn copy_of(request: &Request<Upload>, most: usize) -> Request<Upload> {
    let mut copy = Request::new(request.body().remembered(most));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Whether the same backend gets it again.
fn tries_again(exchange: &Exchange, attempt: Attempt, failure: Failure) -> bool {
    may_follow(attempt) && exchange.tries_again(attempt.fate, failure)
}

/// What became of a request that has no answer.
struct Lost {
    fate: Fate,
    failure: Failure,
    /// The whole request, where it is still there.
    again: Option<Request<Upload>>,
}

/// What became of it; an error where that is the visitor's own doing.
fn lost(
    exchange: &Exchange,
    failed: Unanswered,
    lease: &Lease,
    replay: Option<Request<Upload>>,
) -> Result<Lost, Error> {
    let Unanswered { request, unsent, cause } = failed;
    if let Some(fault) = exchange.upload_fault() {
        return Err(fault);
    }
    tracing::debug!(error = %cause, "attempt failed");
    let failure = Failure::of_exchange(&cause);
    let closed = failure == Failure::Closed;
    let fate = match unsent || cause.is_refused() {
        true => Fate::Unsent,
        false if closed && lease.is_reused() => Fate::LostOnReused,
        false if closed => Fate::Reset,
        false => Fate::Failed,
    };
    match fate {
        Fate::Reset | Fate::Failed => verdict::failed(lease.pool(), Error::Backend(failure)),
        // An idle connection may close, and what was left undone is no failure.
        Fate::NotConnected | Fate::Unsent | Fate::LostOnReused => {}
    }
    Ok(Lost { fate, failure, again: request.or_else(|| replay.and_then(rewound)) })
}

fn rewound(mut replay: Request<Upload>) -> Option<Request<Upload>> {
    replay.body_mut().rewind().then_some(replay)
}

/// A response may be read in one way only; a switch of protocols that nobody asked for is none.
fn checked(mut response: Response<()>, most: usize, upgrades: bool) -> Result<Response<()>, Error> {
    if response.headers().len() > most {
        return Err(Error::Backend(Failure::BadResponse));
    }
    let framed = one_encoding(response.headers()) && one_length(response.headers_mut());
    let switches =
        response.status() == StatusCode::SWITCHING_PROTOCOLS && response.version() == Version::HTTP_11;
    let agreed = upgrades && switches && upgrade::agrees(response.headers());
    if !framed || (response.status().is_informational() && !agreed) {
        return Err(Error::Backend(Failure::BadResponse));
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

/// Whether the encoding is `chunked`, once, or none. Two framings in one response are an attempt at splitting it (RFC
/// 9112 section 6.3).
fn one_encoding(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(first) = encodings.next() else { return true };
    let one = first.as_bytes().eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
    one && !headers.contains_key(CONTENT_LENGTH)
}

/// Makes several equal lines one; whether the length is a number below 2^53 then. A list is none, though hyper reads
/// it.
fn one_length(headers: &mut HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return true };
    let one = length::of(first.as_bytes()).is_some() && lengths.all(|other| other == first);
    length::say_once(headers);
    one
}
