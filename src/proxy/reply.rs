//! Our own answers: small, honest, a page or JSON, with the reason and the request's id.
//!
//! `handle` calls it for every request that no backend answers. It must never say what isn't known, nor
//! repeat a byte of the request but its id, which was checked.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::config::limits::overload::SHED_RETRY;
use crate::config::limits::{MAINTENANCE_RETRY, MEMORY_RETRY};
use crate::headers::names;
use crate::proxy::answer::Answer;
use crate::proxy::error::Error;
use crate::proxy::exchange::Exchange;
use crate::proxy::shed::Shed;

/// Answers an exchange with the error that ended it.
pub fn to(error: Error, mut exchange: Box<Exchange>) -> Response<Answer> {
    exchange.failed(error);
    let id = exchange.request_id.clone();
    let json = exchange.prefers_json();
    let (location, http1) = (exchange.location().cloned(), exchange.is_http1());
    let retry_after = match error {
        Error::Maintenance => Some(MAINTENANCE_RETRY.as_secs()),
        Error::Shed(Shed::Memory) => Some(MEMORY_RETRY.as_secs()),
        Error::Shed(_) => Some(exchange.downstream.worker.any_of(SHED_RETRY)),
        Error::Refused(_) | Error::Moved | Error::Backend(_) => None,
    };
    let text = text(error, id.to_str().unwrap_or_default(), json);
    let length = text.len();
    let mut response = Response::new(Answer::of_ours(exchange, Bytes::from(text)));
    let status = error.status();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = if json { "application/json" } else { "text/html; charset=utf-8" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match location {
        Some(location) => headers.insert(LOCATION, location),
        None => headers.insert(&names::X_CROSSFADE_ERROR, HeaderValue::from_static(error.reason())),
    };
    headers.insert(&names::X_REQUEST_ID, id);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.closes() && http1 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn text(error: Error, id: &str, json: bool) -> String {
    let status = error.status();
    let (code, reason) = (status.as_u16(), error.reason());
    let title = status.canonical_reason().unwrap_or("Error");
    if json {
        return format!("{{\"status\":{code},\"error\":\"{reason}\",\"request_id\":\"{id}\"}}\n");
    }
    let advice = advice(error);
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{code} {title}</title>\n\
         <style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;\
         color-scheme:light dark}}small{{opacity:.7}}</style>\n\
         <h1>{title}</h1>\n<p>{advice}</p>\n<p><small>{code} &middot; {reason} &middot; request {id}</small></p>\n"
    )
}

/// What the person in front of the page can do.
fn advice(error: Error) -> &'static str {
    match (error, error.status()) {
        (Error::Moved, _) => "This site is at https://.",
        (Error::Maintenance, _) => "This site is being worked on. Please come back in a moment.",
        (Error::Shed(_), _) => "More people are here than this site can serve. Please try again in a moment.",
        (Error::Backend(_), StatusCode::GATEWAY_TIMEOUT) => {
            "The site took too long to answer. Please try again in a moment."
        }
        (Error::Backend(_), _) => "The site can't be reached right now. Please try again in a moment.",
        (Error::Refused(_), StatusCode::NOT_FOUND) => "There is no site at this address.",
        (Error::Refused(_), StatusCode::REQUEST_TIMEOUT) => "The request took too long to arrive.",
        (Error::Refused(_), StatusCode::PAYLOAD_TOO_LARGE) => "What was sent is larger than this site takes.",
        (Error::Refused(_), _) => "This request can't be understood, and was not passed on.",
    }
}
