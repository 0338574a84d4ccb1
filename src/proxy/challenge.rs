//! What certificate authorities ask for below `/.well-known/acme-challenge/` (RFC 8555 section 8.3): our own proofs,
//! and those of the platforms behind us.
//!
//! `handle` asks for ours before it looks for a route, and sends what isn't ours here. A platform's certificate renews
//! by its own proof, whatever the weights say, so each backend is asked until one knows the token. It must never cost
//! another request more than the comparison of a prefix.

use std::iter;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::config::model::Route;
use crate::proxy::answer::Answer;
use crate::proxy::error::Error;
use crate::proxy::exchange::Exchange;
use crate::proxy::forward::{Forwarded, Outbound, forward};
use crate::proxy::refusal::Refusal;
use crate::split::{Choice, ChosenBy};

/// Where all of them are asked for.
pub const PREFIX: &str = "/.well-known/acme-challenge/";

/// The token that a request asks for, where it asks for one. A path that goes on, or up, is no token: nobody reaches
/// more of a backend without weight than its proofs.
pub fn token(parts: &Parts) -> Option<&str> {
    let token = parts.uri.path().strip_prefix(PREFIX)?;
    // RFC 8555 section 8.3: of the base64url alphabet.
    let plain = token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let asked = matches!(parts.method, Method::GET | Method::HEAD);
    (asked && plain && !token.is_empty()).then_some(token)
}

/// Our own proof for a request, where it asks for one that is ours.
pub fn ours(exchange: &Exchange, parts: &Parts) -> Option<Bytes> {
    exchange.downstream.worker.challenges.http(token(parts)?)
}

/// Answers with our own proof.
pub fn answer(proof: Bytes, mut exchange: Box<Exchange>) -> Response<Answer> {
    exchange.answered(StatusCode::OK);
    let length = proof.len();
    let mut response = Response::new(Answer::of_ours(exchange, proof));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Where a proof that isn't ours is asked for first: at the stable backend, whatever the weights say.
pub fn first(exchange: &mut Exchange, route: usize) -> Choice {
    let position = exchange.view.snapshot.config.routes[route].weights.stable();
    exchange.goes_to(route, position, ChosenBy::Challenge);
    Choice { position, by: ChosenBy::Challenge, set_cookie: None }
}

/// Asks one backend of the route after the other, stable first, until one answers with something else than 404; gives
/// that answer. Where none does, it is the last 404.
///
/// # Errors
/// When no backend answers at all: what the last one failed by.
pub async fn ask(exchange: &mut Exchange, route: usize, outbound: Outbound) -> Result<Forwarded, Error> {
    let view = Rc::clone(&exchange.view);
    let Route { backends, weights, .. } = &view.snapshot.config.routes[route];
    let stable = weights.stable();
    let others = (0..backends.len()).filter(|&position| position != stable);
    let mut left = iter::once(stable).chain(others).peekable();
    let mut unknown = None;
    while let Some(position) = left.next() {
        exchange.goes_to(route, position, ChosenBy::Challenge);
        let backend = backends[position];
        match forward(exchange, outbound.again(backend)).await {
            Ok(forwarded) if forwarded.0.status() != StatusCode::NOT_FOUND => {
                return Ok(forwarded);
            }
            Ok(forwarded) => unknown = Some((position, forwarded)),
            Err(Error::Backend(failure)) if unknown.is_some() || left.peek().is_some() => {
                exchange.series().failure(failure.reason());
            }
            Err(error) => return Err(error),
        }
    }
    let (position, forwarded) = unknown.ok_or(Error::Refused(Refusal::NoRoute))?;
    exchange.goes_to(route, position, ChosenBy::Challenge);
    Ok(forwarded)
}
