//! The life of a request on one screen.
//!
//! The visitor's connection calls [`handle`] for each request. Every step is one call; what it does stands where
//! it is called. It must never fail: whatever goes wrong has an answer.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, SET_COOKIE, STRICT_TRANSPORT_SECURITY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use crate::config::model::Mode;
use crate::headers::origin::{Origin, Scheme};
use crate::headers::outgoing::{self, Outgoing, client_value};
use crate::headers::{hop_by_hop, response, upgrade};
use crate::memory::Level;
use crate::proxy::admit::{Admitted, admit};
use crate::proxy::answer::Answer;
use crate::proxy::challenge;
use crate::proxy::downstream::Downstream;
use crate::proxy::error::{Error, Failure};
use crate::proxy::exchange::Exchange;
use crate::proxy::forward::{Forwarded, Outbound, forward};
use crate::proxy::refusal::Refusal;
use crate::proxy::shed::Shed;
use crate::proxy::{reply, tunnel};
use crate::split::{Bucket, Choice, Policy, Visitor, choose, cookie};
use crate::upstream::content::Content;
use crate::upstream::upload::{Upload, UploadBounds};

/// A request as its connection heard it.
#[derive(Debug)]
pub struct Asked {
    /// Its head.
    pub parts: Parts,
    /// Its body.
    pub content: Content,
    /// The bytes to come of its stream, where that is to be a tunnel in HTTP/2.
    pub stream: Option<OnUpgrade>,
    /// Why it is to be refused, where its bytes were; its head stands in for what couldn't be read.
    pub refused: Option<Refusal>,
}

/// Answers one request. The exchange begins with the call, not with the first look at what is returned: the connection
/// may be found closed in between.
pub fn handle(downstream: Rc<Downstream>, asked: Asked) -> impl Future<Output = Response<Answer>> {
    let Asked { mut parts, content, stream, refused } = asked;
    downstream.link.begin();
    let mut exchange = Box::new(Exchange::begin(downstream, &parts));
    if stream.is_some() {
        upgrade::of_stream(&mut parts, exchange.downstream.worker.websocket_key());
        exchange.stream = stream;
        exchange.upgrades = true;
    } else if refused.is_none() && content.is_end_stream() && upgrade::asks(&parts) {
        exchange.upgrades = true;
    }
    answer(exchange, refused, parts, content)
}

async fn answer(
    mut exchange: Box<Exchange>,
    refused: Option<Refusal>,
    parts: Parts,
    content: Content,
) -> Response<Answer> {
    let outcome = match refused {
        Some(refusal) => {
            exchange.is_unreadable();
            Err(Error::Refused(refusal))
        }
        None => pass(&mut exchange, parts, content).await,
    };
    let http1 = exchange.is_http1();
    exchange.downstream.link.interim.close();
    let draining = exchange.downstream.worker.is_draining();
    let mut response = match outcome {
        Ok(Passed::On((response, lease))) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            return tunnel::switch(exchange, response, lease);
        }
        // To a stream that asks for a WebSocket any success would say that it has one.
        Ok(Passed::On((response, _))) if exchange.stream.is_some() && response.status().is_success() => {
            reply::to(Error::Backend(Failure::BadResponse), exchange)
        }
        Ok(Passed::Ours(proof)) => challenge::answer(proof, exchange),
        Ok(Passed::On((response, lease))) => response.map(|()| Answer::of_backend(exchange, lease)),
        Err(error) => reply::to(error, exchange),
    };
    // HTTP/2 has no field for the end of a connection; hyper tells it by a frame.
    if draining && http1 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What comes of a request that goes well.
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Passed {
    /// A backend's answer.
    On(Forwarded),
    /// Our own proof to a certificate authority.
    Ours(Bytes),
}

/// What happens to a request that goes well.
async fn pass(exchange: &mut Exchange, parts: Parts, content: Content) -> Result<Passed, Error> {
    // A stream of HTTP/2 is begun by its connection's task and routed by its own; whoever steers counts on the latter.
    if !exchange.is_http1() {
        exchange.view = exchange.downstream.worker.view();
    }
    if exchange.downstream.worker.memory.level() == Level::Short {
        return Err(Error::Shed(Shed::Memory));
    }
    let admitted = admitted(exchange, &parts)?;
    let origin = origin(exchange, &parts.headers, &admitted);
    let challenged = challenge::token(&parts).is_some() && content.is_end_stream() && !exchange.upgrades;
    if challenged && let Some(proof) = challenge::ours(exchange, &parts) {
        return Ok(Passed::Ours(proof));
    }
    secure(exchange, &origin, &parts.uri)?;
    let route = route(exchange, &origin, &parts.uri)?;
    // The platforms' own certificates go on renewing.
    if !challenged && exchange.view.snapshot.config.routes[route].mode == Mode::Maintenance {
        return Err(Error::Maintenance);
    }
    let choice = match challenged {
        true => challenge::first(exchange, route),
        false => chosen(exchange, route, &origin, &parts.headers),
    };
    let outbound = outbound(exchange, route, &choice, &origin, admitted, parts, content);
    let (mut response, lease) = match challenged {
        // In a box, so that the state of other requests stays as small as it is.
        true => Box::pin(challenge::ask(exchange, route, outbound)).await?,
        false => forward(exchange, outbound).await?,
    };
    exchange.responded(response.status());
    let backend = exchange.backend().map_or(0, |backend| backend.0);
    let authorities = &exchange.view.snapshot.backends[backend].authorities;
    returned(response.headers_mut(), &origin, authorities, choice.set_cookie);
    if origin.scheme == Scheme::Https
        && let Some(policy) = &exchange.view.snapshot.hsts
    {
        // What the app says of itself is left.
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| policy.clone());
    }
    Ok(Passed::On((response, lease)))
}

fn admitted(exchange: &Exchange, parts: &Parts) -> Result<Admitted, Error> {
    admit(parts, &exchange.view.snapshot.config.limits, exchange.downstream.local).map_err(Error::Refused)
}

/// The corrected facts of the visitor.
fn origin(exchange: &mut Exchange, headers: &HeaderMap, admitted: &Admitted) -> Origin {
    let trust = &exchange.view.snapshot.config.forwarded;
    let origin = Origin::resolve(trust, &exchange.downstream.peer, &admitted.host, headers);
    exchange.comes_from(origin.client, &origin.host);
    origin
}

/// Sends a visitor who came in the clear to TLS, where that is asked for; but not who asks for a proof that we hold
/// the name, which comes so (RFC 8555 section 8.3).
fn secure(exchange: &mut Exchange, origin: &Origin, uri: &Uri) -> Result<(), Error> {
    let Some(port) = exchange.view.snapshot.config.tls.redirect_http else { return Ok(()) };
    if origin.scheme == Scheme::Https || uri.path().starts_with(challenge::PREFIX) {
        return Ok(());
    }
    let host = origin.host_name();
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    exchange.moves_to(HeaderValue::try_from(format!("https://{host}{port}{path}")).ok());
    Err(Error::Moved)
}

fn route(exchange: &Exchange, origin: &Origin, uri: &Uri) -> Result<usize, Error> {
    // `OPTIONS *` is about the server as a whole: that of the root.
    let path = if uri.path() == "*" { "/" } else { uri.path() };
    exchange.view.snapshot.router.find(origin.host_name(), path).ok_or(Error::Refused(Refusal::NoRoute))
}

fn chosen(exchange: &mut Exchange, route: usize, origin: &Origin, headers: &HeaderMap) -> Choice {
    let snapshot = &exchange.view.snapshot;
    let model = &snapshot.config.routes[route];
    let policy = Policy {
        weights: &model.weights,
        sticky: &model.sticky,
        pin: &model.pin,
        route: model.name.as_str(),
        names: &snapshot.routes[route].names,
    };
    let visitor = Visitor { headers, client: origin.client };
    let mut sequence = exchange.view.routes[route].sequence.borrow_mut();
    let mut fresh = exchange.view.routes[route].fresh.borrow_mut();
    let choice = choose(&policy, &visitor, &mut sequence, &mut fresh);
    drop((sequence, fresh));
    exchange.goes_to(route, choice.position, choice.by);
    choice
}

/// The request as the backend is to get it.
fn outbound(
    exchange: &mut Exchange,
    route: usize,
    choice: &Choice,
    origin: &Origin,
    admitted: Admitted,
    mut parts: Parts,
    content: Content,
) -> Outbound {
    let backend = exchange.view.snapshot.config.routes[route].backends[choice.position];
    let peer = &exchange.downstream.peer;
    let believed = (origin.client != peer.address).then(|| client_value(origin.client));
    let outgoing = Outgoing {
        origin,
        request_id: &exchange.request_id,
        now_ms: exchange.started_ms,
        version: parts.version,
        client: believed.as_ref().unwrap_or(&exchange.downstream.peer_value),
    };
    let ours = Box::new(outgoing::rewrite(&mut parts.headers, &outgoing));
    if exchange.upgrades {
        upgrade::write(&mut parts.headers);
    }
    Outbound {
        backend,
        method: parts.method,
        uri: origin_form(parts.uri),
        headers: parts.headers,
        ours,
        upload: upload(exchange, content),
        expects_continue: admitted.expects_continue,
        visitor_host: admitted.host,
    }
}

/// Absolute form is for proxies; a backend gets the path (RFC 9112 section 3.2.1).
fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    uri.into_parts().path_and_query.map_or_else(|| Uri::from_static("/"), Uri::from)
}

fn upload(exchange: &mut Exchange, content: Content) -> Upload {
    if content.is_end_stream() {
        return Upload::none();
    }
    let config = &exchange.view.snapshot.config;
    let (size, idle, rate) = (config.limits.body_size, config.timeouts.idle_body, config.limits.min_rate);
    let (upload, state) =
        Upload::new(content, UploadBounds { size, idle, rate, deadline: exchange.deadline() });
    exchange.uploads(state);
    upload
}

/// The response's fields as the visitor is to get them.
fn returned(headers: &mut HeaderMap, origin: &Origin, authorities: &[String], bucket: Option<Bucket>) {
    hop_by_hop::strip_response(headers);
    let host = origin.host.to_str().unwrap_or_default();
    let public = response::Public { scheme: origin.scheme, host };
    response::rewrite(headers, &public, authorities);
    if let Some(bucket) = bucket {
        let secure = origin.scheme == Scheme::Https;
        headers.append(SET_COOKIE, cookie::set_cookie(bucket, secure));
    }
}
