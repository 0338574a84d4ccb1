//! What a backend receives: the visitor's fields, less what ends here or is forged, and one value each of
//! ours.
//!
//! The proxy calls [`request_id`] and [`rewrite`] once per exchange; what that takes away and what it gives, [`Ours`],
//! are put together when a connection writes them. The body calls [`strip_trailers`]. It must never let through a
//! second value of a field of ours, in any spelling: frameworks differ in which of several they read, and agree only on
//! one.
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
use super::origin::{Origin, Scheme};
use super::{hop_by_hop, length, list};
use crate::config::limits::REQUEST_ID_SIZE;

/// Everything that a request is told besides.
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

/// The fields that are ours to say: exactly one value each, beside a visitor's fields that went through [`rewrite`].
#[derive(Debug, Clone)]
pub struct Ours {
    client: HeaderValue,
    scheme: Scheme,
    host: HeaderValue,
    port: u16,
    prefix: Option<HeaderValue>,
    request_id: HeaderValue,
    now_ms: u64,
    via: HeaderValue,
}

impl Ours {
    /// Says each of them.
    pub fn each(&self, mut say: impl FnMut(&HeaderName, &[u8])) {
        say(&names::X_FORWARDED_FOR, self.client.as_bytes());
        say(&names::X_REAL_IP, self.client.as_bytes());
        say(&names::X_FORWARDED_PROTO, self.scheme.as_str().as_bytes());
        say(&names::X_FORWARDED_HOST, self.host.as_bytes());
        say(&names::X_FORWARDED_PORT, itoa::Buffer::new().format(self.port).as_bytes());
        if let Some(prefix) = &self.prefix {
            say(&names::X_FORWARDED_PREFIX, prefix.as_bytes());
        }
        say(&names::X_REQUEST_ID, self.request_id.as_bytes());
        // As request-queue monitors read it.
        let (mut start, mut digits) = ([0; 22], itoa::Buffer::new());
        let digits = digits.format(self.now_ms).as_bytes();
        start[..2].copy_from_slice(b"t=");
        start[2..2 + digits.len()].copy_from_slice(digits);
        say(&names::X_REQUEST_START, &start[..2 + digits.len()]);
        say(&VIA, self.via.as_bytes());
    }

    /// Sets them among `headers`, for a connection that takes its fields from there.
    pub fn insert(&self, headers: &mut HeaderMap) {
        self.each(|name, value| {
            let value = HeaderValue::from_bytes(value).expect("what values say is fit for one");
            headers.insert(name, value);
        });
    }

    /// Takes them out of `headers` again.
    pub fn remove(&self, headers: &mut HeaderMap) {
        self.each(|name, _| drop(headers.remove(name)));
    }
}

/// Takes out of a visitor's fields what a backend doesn't receive, and says what it does besides.
pub fn rewrite(headers: &mut HeaderMap, outgoing: &Outgoing<'_>) -> Ours {
    let seen = Seen::among(headers);
    // Asked first: where `TE` stands, `Connection` has to list it (RFC 9110 section 10.1.4).
    let trailers = seen.te && takes_trailers(headers);
    let via = via_value(headers, outgoing.version, seen.via);
    if seen.connection {
        hop_by_hop::strip_listed(headers);
    }
    for name in seen.doomed {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    if seen.cookie {
        join_cookies(headers);
    }
    if seen.length {
        length::say_once(headers);
    }
    let Outgoing { origin, request_id, now_ms, client, .. } = *outgoing;
    Ours {
        client: client.clone(),
        scheme: origin.scheme,
        host: origin.host.clone(),
        port: origin.port,
        prefix: origin.prefix.clone(),
        request_id: request_id.clone(),
        now_ms,
        via,
    }
}

/// What one look at a visitor's names finds.
#[derive(Default)]
struct Seen {
    te: bool,
    connection: bool,
    cookie: bool,
    length: bool,
    via: bool,
    /// What goes, whatever it says. Nothing of that, nothing allocated.
    doomed: Vec<HeaderName>,
}

impl Seen {
    fn among(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            let text = name.as_str();
            match text {
                "connection" => seen.connection = true,
                "cookie" => seen.cookie = true,
                "content-length" => seen.length = true,
                _ if hop_by_hop::is_hop_by_hop(text) || is_said_by_us(text) || is_forged(text) => {
                    seen.te |= *name == TE;
                    seen.via |= *name == VIA;
                    seen.doomed.push(name.clone());
                }
                _ => {}
            }
        }
        seen
    }
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

/// Whether the field `name` is one of [`Ours`], so that a visitor's own goes.
fn is_said_by_us(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'v') => name == "via",
        Some(b'x') => is_ours(name),
        _ => false,
    }
}

/// Whether the field `name` is one of [`Ours`] that no one else says.
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
/// application or a framework may believe it. Fields of ours aren't counted.
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
fn via_value(headers: &HeaderMap, version: Version, earlier: bool) -> HeaderValue {
    let own = match version {
        Version::HTTP_10 => "1.0 crossfade",
        Version::HTTP_2 => "2 crossfade",
        Version::HTTP_3 => "3 crossfade",
        _ => "1.1 crossfade",
    };
    let earlier = earlier.then(|| joined(headers, &VIA, b", ", own.as_bytes()));
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

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
