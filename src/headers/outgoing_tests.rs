//! What [`rewrite`](super::rewrite) promises, whatever a visitor sends.

use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH};
use proptest::prelude::*;

use super::super::origin::Scheme;
use super::*;

const SET: [&str; 9] = [
    "x-forwarded-for",
    "x-real-ip",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-request-id",
    "x-request-start",
    "via",
];

fn origin() -> Origin {
    Origin {
        client: IpAddr::from([203, 0, 113, 7]),
        scheme: Scheme::Https,
        host: HeaderValue::from_static("www.example.com"),
        port: 443,
        prefix: Some(HeaderValue::from_static("/shop")),
    }
}

fn rewritten_for(headers: &mut HeaderMap, origin: &Origin, version: Version) {
    let outgoing = Outgoing {
        origin,
        request_id: &HeaderValue::from_static("id-1"),
        now_ms: 1_763_700_000_123,
        version,
        client: &client_value(origin.client),
    };
    rewrite(headers, &outgoing).insert(headers);
}

fn rewritten(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    rewritten_for(&mut headers, &origin(), Version::HTTP_11);
    headers
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn a_backend_receives_what_the_contract_says() {
    let headers = rewritten(&[("host", "www.example.com"), ("accept", "*/*")]);
    let expected = [
        // The proxy says which the backend gets.
        ("host", "www.example.com"),
        ("accept", "*/*"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-real-ip", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.com"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/shop"),
        ("x-request-id", "id-1"),
        ("x-request-start", "t=1763700000123"),
        ("via", "1.1 crossfade"),
    ];
    for (name, value) in expected {
        assert_eq!(all(&headers, name), [value], "{name}");
    }
    assert_eq!(headers.len(), expected.len());
}

#[test]
fn a_prefix_that_nobody_vouches_for_is_removed() {
    let mut headers = HeaderMap::new();
    headers.append(&names::X_FORWARDED_PREFIX, HeaderValue::from_static("/a"));
    headers.append(&names::X_FORWARDED_PREFIX, HeaderValue::from_static("/b"));
    rewritten_for(&mut headers, &Origin { prefix: None, port: 8443, ..origin() }, Version::HTTP_11);
    assert!(!headers.contains_key(&names::X_FORWARDED_PREFIX));
    assert_eq!(all(&headers, "x-forwarded-port"), ["8443"]);
}

#[test]
fn what_only_a_proxy_can_know_is_removed() {
    let forged = [
        "Forwarded",
        "X-Forwarded",
        "X-Forwarded-Ssl",
        "X-Forwarded-Scheme",
        "X-Forwarded-Server",
        "X-Forwarded-Uri",
        "X-Forwarded-Client-Cert",
        "X-Scheme",
        "X-Url-Scheme",
        "Front-End-Https",
        "Client-IP",
        "X-Client-IP",
        "True-Client-IP",
        "X-Cluster-Client-IP",
        "X-Original-URL",
        "X-Original-Host",
        "X-Rewrite-URL",
        "CF-Connecting-IP",
        "CF-Visitor",
        "Fly-Client-IP",
        "Fly-Forwarded-Proto",
        "X-Envoy-External-Address",
        "WL-Proxy-Client-IP",
        "Fastly-Client-IP",
        "Client-Cert",
        "SSL-Client-Verify",
        "X-Script-Name",
        "Proxy",
        "X_Forwarded_For",
        "x-forwarded_proto",
        "Content_Length",
        "_",
        "X-Queue-Start",
        "X-Sendfile-Type",
    ];
    for name in forged {
        let headers = rewritten(&[(name, "1")]);
        assert_eq!(headers.len(), SET.len(), "{name}");
    }
}

#[test]
fn hop_by_hop_fields_are_removed() {
    let fields = [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Proxy-Authenticate",
        "TE",
        "Transfer-Encoding",
        "Upgrade",
        "HTTP2-Settings",
    ];
    for name in fields {
        assert_eq!(rewritten(&[(name, "gzip")]).len(), SET.len(), "{name}");
    }
}

#[test]
fn the_rest_passes_untouched() {
    let passing = [
        "accept",
        "authorization",
        "baggage",
        "cdn-loop",
        "content-length",
        "content-type",
        "expect",
        "origin",
        "trailer",
        "traceparent",
        "tracestate",
        "upgrade-insecure-requests",
        "x-account",
        "x-client-version",
        "x-real-estate",
        "x-crossfade-backend",
        "cfx",
        "flying",
        "proxima",
        "x",
    ];
    for name in passing {
        let headers = rewritten(&[(name, "1, 2"), (name, "3")]);
        assert_eq!(all(&headers, name), ["1, 2", "3"], "{name}");
    }
}

#[test]
fn te_passes_trailers_alone() {
    assert_eq!(all(&rewritten(&[("te", "gzip, Trailers"), ("connection", "TE, close")]), "te"), ["trailers"]);
    assert_eq!(all(&rewritten(&[("te", "gzip"), ("te", "trailers")]), "te"), ["trailers"]);
    assert!(all(&rewritten(&[("te", "gzip;q=0.5")]), "te").is_empty());
}

#[test]
fn connection_cannot_remove_ours_nor_what_is_for_the_app() {
    let listed =
        "Host, X-Forwarded-For, x-real-ip, Via, X-Request-Id, Authorization, Cookie, Content-Length, X-Own";
    let headers = rewritten(&[
        ("connection", listed),
        ("host", "a"),
        ("via", "1.0 front"),
        ("authorization", "Basic eDp5"),
        ("cookie", "a=b"),
        ("content-length", "3"),
        ("x-own", "1"),
    ]);
    assert_eq!(headers.len(), SET.len() + 4);
    assert!(headers.contains_key(AUTHORIZATION) && headers.contains_key(COOKIE));
    assert_eq!(headers[CONTENT_LENGTH], "3");
    assert_eq!(headers[VIA], "1.0 front, 1.1 crossfade");
}

#[test]
fn via_names_the_version_that_came_in_behind_earlier_hops() {
    for (version, own) in [(Version::HTTP_10, "1.0 crossfade"), (Version::HTTP_2, "2 crossfade")] {
        let mut headers = HeaderMap::new();
        rewritten_for(&mut headers, &origin(), version);
        assert_eq!(headers[VIA], own);
    }
    let headers = rewritten(&[("via", "1.1 a, 2 b"), ("via", ""), ("via", "1.0 c")]);
    assert_eq!(all(&headers, "via"), ["1.1 a, 2 b, 1.0 c, 1.1 crossfade"]);
}

#[test]
fn cookie_crumbs_are_joined() {
    let headers =
        rewritten(&[("cookie", "a=b"), ("accept", "*/*"), ("cookie", "c=d; e=f"), ("cookie", "g=h")]);
    assert_eq!(all(&headers, "cookie"), ["a=b; c=d; e=f; g=h"]);
    assert_eq!(all(&rewritten(&[("cookie", "a=b;  c")]), "cookie"), ["a=b;  c"]);
    assert!(headers.contains_key(ACCEPT));
}

#[test]
fn a_sane_request_id_is_kept() {
    let id = |values: &[&str]| {
        let field = |value: &&str| (names::X_REQUEST_ID.clone(), HeaderValue::from_str(value).unwrap());
        request_id(&values.iter().map(field).collect())
    };
    let longest = "a".repeat(REQUEST_ID_SIZE);
    for sane in ["0", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "Root=1-67891233-abcdef", "a.b_c~d+e/f=g:h-i", &longest] {
        assert_eq!(id(&[sane]).unwrap(), sane);
    }
    for strange in ["", "a b", "a,b", "a\"b", "{{7*7}}", &format!("{longest}a")] {
        assert_eq!(id(&[strange]), None, "{strange}");
    }
    assert_eq!(id(&[]), None);
    assert_eq!(id(&["a", "a"]), None);
}

#[test]
fn trailers_cannot_forge_ours() {
    let mut trailers = HeaderMap::new();
    for name in
        ["grpc-status", "x-forwarded-for", "x-real-ip", "fly-client-ip", "x_a", "host", "authorization"]
    {
        trailers.append(name, HeaderValue::from_static("1"));
    }
    strip_trailers(&mut trailers);
    assert_eq!(all(&trailers, "grpc-status"), ["1"]);
    assert_eq!(trailers.len(), 1);
}

#[test]
fn times_and_ports_of_any_size_are_written() {
    for (now_ms, port, start) in [(0, 80, "t=0"), (u64::MAX, u16::MAX, "t=18446744073709551615")] {
        let ours = Ours { now_ms, port, ..ours() };
        let mut headers = HeaderMap::new();
        ours.insert(&mut headers);
        assert_eq!(all(&headers, "x-request-start"), [start]);
        assert_eq!(all(&headers, "x-forwarded-port"), [port.to_string()]);
    }
    assert_eq!(client_value("2001:db8::a".parse().unwrap()), "2001:db8::a");
}

fn ours() -> Ours {
    let (origin, mut none) = (origin(), HeaderMap::new());
    let (request_id, client) = (&HeaderValue::from_static("id-1"), &client_value(origin.client));
    let outgoing = Outgoing { origin: &origin, request_id, now_ms: 0, version: Version::HTTP_11, client };
    rewrite(&mut none, &outgoing)
}

/// A request that a connection of HTTP/2 gave back goes on over one of HTTP/1.1, which writes them itself.
#[test]
fn what_is_inserted_can_be_taken_out() {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let before = headers.clone();
    ours().insert(&mut headers);
    assert_eq!(headers.len(), 1 + SET.len());
    ours().remove(&mut headers);
    assert_eq!(headers, before);
}

fn any_name() -> impl Strategy<Value = String> {
    let ours = prop::sample::select(SET.as_slice()).prop_map(str::to_owned);
    let known = prop::sample::select(
        ["connection", "te", "cookie", "upgrade", "transfer-encoding", "proxy", "fly-region", "forwarded"]
            .as_slice(),
    );
    prop_oneof![
        ours.clone(),
        ours.prop_map(|name| name.replacen('-', "_", 1)),
        known.prop_map(str::to_owned),
        "(x-|cf-|proxy-)?[a-z0-9_!~-]{1,12}",
    ]
}

fn any_value() -> impl Strategy<Value = HeaderValue> {
    let listing = prop::collection::vec(any_name(), 0..4).prop_map(|names| names.join(", ").into_bytes());
    prop_oneof![listing, prop::collection::vec(any::<u8>(), 0..24)]
        .prop_filter_map("no value", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

proptest! {
    #[test]
    fn whatever_comes_in_ours_stand_once_and_nothing_forged_survives(
        fields in prop::collection::vec((any_name(), any_value()), 0..24),
        with_prefix: bool,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        let mut origin = origin();
        origin.prefix = origin.prefix.filter(|_| with_prefix);
        rewritten_for(&mut headers, &origin, Version::HTTP_11);
        for name in SET {
            let expected = usize::from(with_prefix || name != "x-forwarded-prefix");
            prop_assert_eq!(headers.get_all(name).iter().count(), expected, "{}", name);
        }
        prop_assert!(headers.get_all(COOKIE).iter().count() <= 1);
        prop_assert_eq!(headers.get(CONNECTION).is_some(), headers.contains_key(TE));
        for (name, value) in &headers {
            let name = name.as_str();
            prop_assert!(!name.contains('_') && !is_forged(name), "{}", name);
            let trailers = [("te", "trailers"), ("connection", "TE")];
            let for_trailers = trailers.iter().any(|(field, text)| name == *field && value == text);
            prop_assert!(!hop_by_hop::is_hop_by_hop(name) || for_trailers, "{}", name);
        }
        prop_assert_eq!(&headers["x-forwarded-for"], "203.0.113.7");
    }
}
