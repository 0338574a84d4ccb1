//! The fields that end at the next hop (RFC 9110 section 7.6.1).
//!
//! `outgoing` takes them off requests, the proxy calls [`strip_response`] for responses and
//! [`strip_trailers`] for their trailers. It must never let a `Connection` token remove a field that is meant
//! for the other end.
//!
//! `Upgrade` and its `Connection` token go too: whoever answers or asks for a WebSocket writes both anew.
//! `Proxy-Authenticate` goes as well: it is for the client of the proxy that sent it (section 11.7.1), and a
//! backend isn't one. `Trailer` stays, since trailers are forwarded.

use std::str;
use std::time::Duration;

use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::names;

/// What a `Connection` token can't remove and a trailer can't bring: framing, routing, rights, and how the
/// content is to be read. "Fields intended for all recipients of the content" are never connection options.
const PROTECTED: [&str; 18] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-type",
    "cookie",
    "expect",
    "host",
    "location",
    "set-cookie",
    "strict-transport-security",
    "trailer",
    "vary",
    "via",
    "www-authenticate",
];

/// Takes the fields off a response that end here: the hop-by-hop ones, and those that its `Connection` lists.
pub fn strip_response(headers: &mut HeaderMap) {
    strip_listed(headers);
    // What nearly every response has, without the list that the sweep would build for it.
    headers.remove(TRANSFER_ENCODING);
    headers.remove(&names::KEEP_ALIVE);
    sweep(headers, is_hop_by_hop);
}

/// How long the backend keeps an idle connection, by its own word: `Keep-Alive: timeout=5, max=1000` (RFC 2068
/// section 19.7.1.1), in whole seconds. Node and Apache say so, and close after 5 s unless told otherwise.
pub fn keep_alive_timeout(headers: &HeaderMap) -> Option<Duration> {
    let words = headers.get(&names::KEEP_ALIVE)?.to_str().ok()?;
    let seconds = words.split(',').find_map(|word| word.trim().strip_prefix("timeout="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Takes out of trailers what may only stand in a head (RFC 9110 section 6.5.1): an app that merges both
/// would believe it.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    sweep(trailers, |name| is_hop_by_hop(name) || PROTECTED.contains(&name));
}

/// Whether the field `name` (in lower case) ends at the next hop by itself.
pub fn is_hop_by_hop(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'c') => name == "connection",
        Some(b'h') => name == "http2-settings",
        Some(b'k') => name == "keep-alive",
        Some(b'p') => matches!(
            name,
            "proxy-connection" | "proxy-authenticate" | "proxy-authorization" | "proxy-authentication-info"
        ),
        Some(b't') => matches!(name, "te" | "transfer-encoding"),
        Some(b'u') => name == "upgrade",
        _ => false,
    }
}

/// Removes every field whose name is `unwanted`.
pub(super) fn sweep(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    // Nothing to remove, nothing allocated. Collected first: a map can't change while its names are read.
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// Removes `Connection` and what it lists.
pub(super) fn strip_listed(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(CONNECTION).iter();
    let Some(first) = lines.next() else { return };
    if lines.next().is_none() && lists_no_field(first) {
        headers.remove(CONNECTION);
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    for token in lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        let Ok(token) = str::from_utf8(token.trim_ascii()) else { continue };
        if !PROTECTED.iter().any(|name| name.eq_ignore_ascii_case(token)) {
            headers.remove(token);
        }
    }
}

/// Whether this is one of the usual values, which name nothing that isn't removed anyway.
fn lists_no_field(connection: &HeaderValue) -> bool {
    let usual: [&[u8]; 3] = [b"keep-alive", b"close", b"upgrade"];
    usual.iter().any(|token| connection.as_bytes().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn stripped(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = map(fields);
        strip_response(&mut headers);
        let mut left: Vec<String> = headers.keys().map(ToString::to_string).collect();
        left.sort();
        left
    }

    #[test]
    fn hop_by_hop_fields_end_here() {
        let left = stripped(&[
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAA"),
            ("proxy-connection", "close"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic eDp5"),
            ("proxy-authentication-info", "x"),
            ("proxy-status", "edge"),
            ("trailer", "grpc-status"),
            ("date", "now"),
            ("x_app", "underscores are the app's own on the way back"),
        ]);
        assert_eq!(left, ["date", "proxy-status", "trailer", "x_app"]);
    }

    #[test]
    fn what_connection_lists_ends_here_in_any_case_and_line() {
        let left = stripped(&[
            ("connection", "close, X-Secret ,,\t"),
            ("connection", "x-OTHER, not a name, \""),
            ("x-secret", "1"),
            ("x-secret", "2"),
            ("x-other", "3"),
            ("x-kept", "4"),
        ]);
        assert_eq!(left, ["x-kept"]);
    }

    #[test]
    fn connection_cannot_remove_what_is_for_the_visitor() {
        for name in PROTECTED {
            let mut headers = map(&[(name, "value")]);
            headers.insert(CONNECTION, HeaderValue::from_str(&name.to_uppercase()).unwrap());
            strip_response(&mut headers);
            assert!(headers.contains_key(name), "{name}");
            assert!(!headers.contains_key(CONNECTION));
        }
    }

    #[test]
    fn a_backend_says_how_long_it_keeps_a_connection() {
        for (value, seconds) in [
            ("timeout=5", Some(5)),
            ("timeout=5, max=1000", Some(5)),
            ("max=1000,timeout=15", Some(15)),
            ("max=1000", None),
            ("timeout=", None),
            ("timeout=-1", None),
            ("timeout=99999999999999999999", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(&names::KEEP_ALIVE, HeaderValue::from_static(value));
            assert_eq!(keep_alive_timeout(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn trailers_cannot_frame_or_route() {
        let mut trailers = map(&[
            ("grpc-status", "0"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=b"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("grpc-status", "0")]));
    }
}
