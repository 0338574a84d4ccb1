//! The fields that ask for a WebSocket, agree to one, and are written anew on both sides of us (RFC 6455 section 4,
//! RFC 9110 section 7.8).
//!
//! The proxy calls [`asks`] with each request's head, [`agrees`] with a backend's 101, and [`write()`] for what goes
//! on. It must never know another protocol: h2c and TLS inside HTTP are tunnels past every rule of ours.

use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};

const WEBSOCKET: &[u8] = b"websocket";

/// Whether this is the head of a WebSocket handshake: a GET in HTTP/1.1 with exactly that protocol, listed in
/// `Connection`, with its key and version. What is anything else isn't wrong, but goes on without the upgrade.
pub fn asks(parts: &Parts) -> bool {
    let headers = &parts.headers;
    headers.contains_key(UPGRADE)
        && parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && names_websocket(headers)
        && only(headers, &SEC_WEBSOCKET_KEY).is_some()
        && headers.contains_key(SEC_WEBSOCKET_VERSION)
}

/// Whether these fields of a 101 agree to a WebSocket and to nothing else.
pub fn agrees(headers: &HeaderMap) -> bool {
    names_websocket(headers)
}

/// Writes the upgrade anew into fields from which everything hop-by-hop is gone. Trailers there are none, nor a body.
pub fn write(headers: &mut HeaderMap) {
    for gone in [TE, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(gone);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Makes the head of a stream that asks for a WebSocket (RFC 8441 section 5) that of a handshake in HTTP/1.1, whose
/// backend wants a `key` of its own.
pub fn of_stream(parts: &mut Parts, key: HeaderValue) {
    parts.method = Method::GET;
    parts.headers.insert(SEC_WEBSOCKET_KEY, key);
}

/// Takes out of a backend's agreement what a stream doesn't have: nothing is upgraded, and no key was sent.
pub fn clear(headers: &mut HeaderMap) {
    for gone in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(gone);
    }
}

fn names_websocket(headers: &HeaderMap) -> bool {
    let protocol = only(headers, &UPGRADE);
    protocol.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET)) && lists_upgrade(headers)
}

/// Firefox writes `keep-alive, Upgrade`.
fn lists_upgrade(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    let mut tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// The value of a field that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const FIELDS: [(&str, &str); 4] = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn head(method: &str, version: Version, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).version(version).uri("/cable");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The handshake with one field said otherwise.
    fn with(name: &str, values: &[&'static str]) -> bool {
        let kept = FIELDS.into_iter().filter(|(field, _)| *field != name);
        let fields: Vec<_> = kept.chain(values.iter().map(|value| (name, *value))).collect();
        asks(&head("GET", Version::HTTP_11, &fields))
    }

    #[test]
    fn a_websocket_is_asked_for_in_one_way() {
        assert!(asks(&head("GET", Version::HTTP_11, &FIELDS)));
        for (method, version) in [
            ("POST", Version::HTTP_11),
            ("HEAD", Version::HTTP_11),
            ("GET", Version::HTTP_10),
            ("GET", Version::HTTP_2),
        ] {
            assert!(!asks(&head(method, version, &FIELDS)), "{method} {version:?}");
        }
    }

    #[test]
    fn whatever_else_is_asked_for_is_no_upgrade() {
        let table: [(&str, &[&'static str], bool); 16] = [
            ("upgrade", &["WebSocket"], true),
            ("upgrade", &[], false),
            ("upgrade", &["h2c"], false),
            ("upgrade", &["websocket, h2c"], false),
            ("upgrade", &["websocket", "h2c"], false),
            ("upgrade", &["websocket/13"], false),
            ("upgrade", &["TLS/1.0"], false),
            ("connection", &["keep-alive, Upgrade"], true),
            ("connection", &["keep-alive", "upgrade"], true),
            ("connection", &["keep-alive"], false),
            ("connection", &["upgraded"], false),
            ("connection", &[], false),
            ("sec-websocket-key", &[], false),
            ("sec-websocket-key", &["a", "b"], false),
            ("sec-websocket-version", &[], false),
            ("sec-websocket-version", &["8"], true),
        ];
        for (name, values, asked) in table {
            assert_eq!(with(name, values), asked, "{name}: {values:?}");
        }
    }

    #[test]
    fn what_is_written_asks_again_and_agrees() {
        let mut parts = head("GET", Version::HTTP_11, &FIELDS);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("TE"));
        parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        parts.headers.remove(UPGRADE);
        write(&mut parts.headers);
        assert!(asks(&parts) && agrees(&parts.headers) && !parts.headers.contains_key(TE));
    }
}
