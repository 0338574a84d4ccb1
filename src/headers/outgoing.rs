//! What a backend receives: the visitor's fields, less what ends here or is forged, and one value each of
//! ours.
//!
//! The proxy calls [`request_id`] and [`rewrite`] once per exchange (a further attempt changes nothing but
//! `Host`, a second `rewrite` would repeat us in `Via`); the body calls [`strip_trailers`]. It must never let
//! through a second value of a field of ours, in any spelling: frameworks differ in which of several they
//! read, and agree only on one.
//!
//! `Host` and `Expect` are left, the proxy decides on them. `Upgrade` and `Connection` are gone afterwards, but for
//! `Connection: TE` where trailers are taken (RFC 9110 section 10.1.4): the tunnel writes both anew. `traceparent`,
//! `tracestate` and `baggage` pass. `Trailer` passes, since trailers are forwarded; without it hyper wouldn't send
//! them.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, TE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::names;
use super::origin::Origin;
use super::{hop_by_hop, length, list};
use crate::config::limits::REQUEST_ID_SIZE;

/// How many fields [`rewrite`] sets, for room made once.
const OURS: usize = 9;

/// Everything that [`rewrite`] writes into a request.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The visitor's corrected facts.
    pub origin: &'a Origin,
    /// The exchange's id.
    pub request_id: &'a HeaderValue,
    /// When the request came in, in unix milliseconds.
    pub now_ms: u64,
    /// What the visitor spoke, for `Via`.
    pub version: Version,
    /// The origin's client address as text; the caller may keep it for a connection.
    pub client: &'a HeaderValue,
}

/// Turns a visitor's fields into what a backend receives.
pub fn rewrite(headers: &mut HeaderMap, outgoing: &Outgoing<'_>) {
    // Asked first: where `TE` stands, `Connection` has to list it (RFC 9110 section 10.1.4).
    let trailers = takes_trailers(headers);
    hop_by_hop::strip_listed(headers);
    hop_by_hop::sweep(headers, |name| hop_by_hop::is_hop_by_hop(name) || is_forged(name));
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    join_cookies(headers);
    length::say_once(headers);
    // Beyond a map's utmost size there is no room to make; no request's head gets near it.
    let _ = headers.try_reserve(OURS);
    set_ours(headers, outgoing);
}

/// The visitor's request id, if there is exactly one and it is fit for logs: 1 to 128 of `A-Z a-z 0-9 . _ ~ +
/// / = : -`.
pub fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(&names::X_REQUEST_ID).iter();
    let id = lines.next().filter(|_| lines.next().is_none())?;
    let fit = |b: &u8| b.is_ascii_alphanumeric() || b"._~+/=:-".contains(b);
    let sane = (1..=REQUEST_ID_SIZE).contains(&id.len()) && id.as_bytes().iter().all(fit);
    sane.then(|| id.clone())
}

/// A client's address as a value, for [`Outgoing::client`].
pub fn client_value(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).expect("an address has only digits, letters, dots and colons")
}

/// Takes out of a request's trailers what may not stand there, and what would forge a field of ours.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    hop_by_hop::strip_trailers(trailers);
    hop_by_hop::sweep(trailers, |name| is_ours(name) || is_forged(name));
}

/// Sets exactly one value of each field that is ours to say.
fn set_ours(headers: &mut HeaderMap, outgoing: &Outgoing<'_>) {
    let origin = outgoing.origin;
    headers.insert(&names::X_FORWARDED_FOR, outgoing.client.clone());
    headers.insert(&names::X_REAL_IP, outgoing.client.clone());
    headers.insert(&names::X_FORWARDED_PROTO, HeaderValue::from_static(origin.scheme.as_str()));
    headers.insert(&names::X_FORWARDED_HOST, origin.host.clone());
    headers.insert(&names::X_FORWARDED_PORT, port_value(origin.port));
    match &origin.prefix {
        Some(prefix) => headers.insert(&names::X_FORWARDED_PREFIX, prefix.clone()),
        None => headers.remove(&names::X_FORWARDED_PREFIX),
    };
    headers.insert(&names::X_REQUEST_ID, outgoing.request_id.clone());
    headers.insert(&names::X_REQUEST_START, start_value(outgoing.now_ms));
    let via = via_value(headers, outgoing.version);
    headers.insert(VIA, via);
}

/// Whether [`set_ours`] replaces or removes every value of the field `name`.
fn is_ours(name: &str) -> bool {
    let known: [&HeaderName; 8] = [
        &names::X_FORWARDED_FOR,
        &names::X_FORWARDED_PROTO,
        &names::X_FORWARDED_HOST,
        &names::X_FORWARDED_PORT,
        &names::X_FORWARDED_PREFIX,
        &names::X_REAL_IP,
        &names::X_REQUEST_ID,
        &names::X_REQUEST_START,
    ];
    known.iter().any(|known| known.as_str() == name)
}

/// Whether the field `name` (in lower case) claims what only a proxy or a platform can know, so that an
/// application or a framework may believe it. Fields of ours aren't counted: they are overwritten.
fn is_forged(name: &str) -> bool {
    // Application servers read `_` as `-`: `x_forwarded_for` would stand beside ours.
    if name.contains('_') {
        return true;
    }
    match name.as_bytes().first() {
        Some(b'c') => {
            name.starts_with("cf-") || matches!(name, "client-ip" | "client-cert" | "client-cert-chain")
        }
        Some(b'f') => {
            // Rack 3 prefers `Forwarded` to every field of ours.
            matches!(name, "forwarded" | "front-end-https")
                || name.starts_with("fly-")
                || name.starts_with("fastly-")
        }
        // `Proxy` becomes HTTP_PROXY in CGI-like environments (httpoxy, CVE-2016-5385).
        Some(b'p') => name == "proxy" || name.starts_with("proxy-"),
        Some(b's') => name.starts_with("ssl-client-"),
        Some(b't') => name.starts_with("true-client-"),
        Some(b'w') => name.starts_with("wl-proxy-"),
        Some(b'x') => name.strip_prefix("x-").is_some_and(|rest| !is_ours(name) && is_forged_extension(rest)),
        _ => false,
    }
}

/// [`is_forged`] for what follows `x-`.
fn is_forged_extension(rest: &str) -> bool {
    const PREFIXES: [&str; 6] = ["forwarded", "original-", "envoy-", "ssl-", "azure-", "appengine-"];
    PREFIXES.iter().any(|prefix| rest.starts_with(prefix))
        || matches!(
            rest,
            "scheme"
                | "url-scheme"
                | "script-name"
                | "rewrite-url"
                | "client-ip"
                | "client-cert"
                | "cluster-client-ip"
                | "originating-ip"
                | "remote-ip"
                | "remote-addr"
                | "proxyuser-ip"
                | "arr-ssl"
                | "queue-start"
                // Between a proxy and Rack::Sendfile alone (CVE-2025-61780).
                | "sendfile-type"
                | "accel-mapping"
        )
}

/// Whether the visitor takes trailers, without which gRPC servers refuse to answer.
fn takes_trailers(headers: &HeaderMap) -> bool {
    let takes = |line: &HeaderValue| {
        list::parse_list_header(line.as_bytes()).iter().any(|item| item.eq_ignore_ascii_case(b"trailers"))
    };
    headers.get_all(TE).iter().any(takes)
}

/// Puts the crumbs of HTTP/2 together again (RFC 9113 section 8.2.3): HTTP/1.1 knows one `Cookie` line.
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    if let Some(cookies) = joined(headers, &COOKIE, b"; ", b"") {
        headers.insert(COOKIE, cookies);
    }
}

/// Our line of `Via` behind those of the hops before us, in one value (RFC 9110 section 7.6.3).
fn via_value(headers: &HeaderMap, version: Version) -> HeaderValue {
    let own = match version {
        Version::HTTP_10 => "1.0 crossfade",
        Version::HTTP_2 => "2 crossfade",
        Version::HTTP_3 => "3 crossfade",
        _ => "1.1 crossfade",
    };
    let earlier = headers.contains_key(VIA).then(|| joined(headers, &VIA, b", ", own.as_bytes()));
    earlier.flatten().unwrap_or(HeaderValue::from_static(own))
}

/// The values of `name` that aren't empty and then `last`, with `separator` between them.
fn joined(headers: &HeaderMap, name: &HeaderName, separator: &[u8], last: &[u8]) -> Option<HeaderValue> {
    let mut all = Vec::new();
    for part in headers.get_all(name).iter().map(HeaderValue::as_bytes).chain([last]) {
        if !all.is_empty() && !part.is_empty() {
            all.extend_from_slice(separator);
        }
        all.extend_from_slice(part);
    }
    HeaderValue::from_maybe_shared(Bytes::from(all)).ok()
}

/// A port as a value; the usual ones cost nothing.
fn port_value(port: u16) -> HeaderValue {
    match port {
        80 => HeaderValue::from_static("80"),
        443 => HeaderValue::from_static("443"),
        other => HeaderValue::from(other),
    }
}

/// `t=` and unix milliseconds, as request-queue monitors read it.
fn start_value(now_ms: u64) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(now_ms).as_bytes();
    let mut text = [0; 22];
    text[..2].copy_from_slice(b"t=");
    text[2..2 + digits.len()].copy_from_slice(digits);
    HeaderValue::from_bytes(&text[..2 + digits.len()]).unwrap_or_else(|_| HeaderValue::from_static("t=0"))
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
