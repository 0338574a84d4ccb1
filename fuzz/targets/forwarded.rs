//! Whatever a visitor writes of itself: what we believe is sane, who isn't trusted is believed nothing, and a backend
//! gets one value each of what is ours to say.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use crossfade_fuzz::headers::authority::parse_authority;
use crossfade_fuzz::headers::list::parse_list_header;
use crossfade_fuzz::headers::origin::{Hops, Origin, Peer, Scheme, Trust};
use crossfade_fuzz::headers::outgoing::{self, Outgoing};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

const PEER: Peer = Peer { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), scheme: Scheme::Http };

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((hops, text)) = data.split_first_chunk::<2>() else { return };
    is_a_list(text);
    let headers: HeaderMap = text.split(|&byte| byte == b'\n').filter_map(field).collect();
    let host = HeaderValue::from_static("www.example.com:8080");
    let hop = |shift: u8| hops[usize::from(shift / 8)] >> (shift % 8) & 3;
    let hops = Hops { x_for: hop(0), x_proto: hop(2), x_host: hop(4), x_port: hop(6), x_prefix: hop(8) };
    let origin = Origin::resolve(&Trust { hops, trusted: None }, &PEER, &host, &headers);
    is_sane(&origin, hops);
    let untrusted = Trust { hops, trusted: Some(vec!["10.0.0.0/8".parse().expect("it is a network")]) };
    let plain = Origin::resolve(&untrusted, &PEER, &host, &headers);
    assert_eq!(plain, Origin::resolve(&untrusted, &PEER, &host, &HeaderMap::new()), "who isn't trusted");
    is_rewritten(&headers, &origin);
});

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

fn is_a_list(text: &[u8]) {
    let list = parse_list_header(text);
    let items: Vec<Vec<u8>> = list.iter().map(Into::into).collect();
    assert_eq!((items.len(), items.is_empty()), (list.len(), list.is_empty()));
    for hop in 0..=u8::MAX {
        let expected = items.len().checked_sub(usize::from(hop)).and_then(|at| items.get(at));
        assert_eq!(list.from_right(hop).as_deref(), expected.map(Vec::as_slice));
        if usize::from(hop) > items.len() {
            break;
        }
    }
}

fn is_sane(origin: &Origin, hops: Hops) {
    let host = parse_authority(origin.host.as_bytes()).expect("the host is one");
    assert_eq!(host.port.unwrap_or(origin.scheme.default_port()), origin.port, "{origin:?}");
    assert_ne!(host.port, Some(origin.scheme.default_port()), "the scheme's own port isn't shown");
    assert_ne!(origin.port, 0);
    assert_eq!(origin.client, origin.client.to_canonical());
    assert!(hops.x_for > 0 || origin.client == PEER.address);
    assert!(hops.x_proto > 0 || origin.scheme == PEER.scheme);
    if let Some(prefix) = &origin.prefix {
        let path = prefix.as_bytes();
        assert!(path.starts_with(b"/") && !path.starts_with(b"//") && path.iter().all(u8::is_ascii_graphic));
    }
}

fn is_rewritten(headers: &HeaderMap, origin: &Origin) {
    let (mut rewritten, client) = (headers.clone(), outgoing::client_value(origin.client));
    let request_id = outgoing::request_id(headers).unwrap_or(HeaderValue::from_static("made-here"));
    let version = Version::HTTP_11;
    let ours = outgoing::rewrite(
        &mut rewritten,
        &Outgoing { origin, request_id: &request_id, now_ms: 1, version, client: &client },
    );
    // Where they are written behind the others, a visitor's own would be a second one.
    ours.each(|name, _| assert!(!rewritten.contains_key(name), "{name} is left"));
    ours.insert(&mut rewritten);
    let one = |name: &str| {
        let values: Vec<_> = rewritten.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0].clone()
    };
    assert_eq!((one("x-forwarded-for"), one("x-real-ip")), (client.clone(), client));
    assert_eq!(one("x-forwarded-proto"), origin.scheme.as_str());
    assert_eq!((one("x-forwarded-host"), one("x-request-id")), (origin.host.clone(), request_id));
    assert_eq!(one("x-forwarded-port"), origin.port.to_string().as_str());
    assert_eq!(one("x-request-start"), "t=1");
    assert!(one("via").as_bytes().ends_with(b"1.1 crossfade"));
    assert_eq!(rewritten.get("x-forwarded-prefix"), origin.prefix.as_ref());
    for name in rewritten.keys() {
        let name = name.as_str();
        assert!(!name.contains('_') && name != "forwarded" && !name.starts_with("fly-"), "{name}");
        assert!(
            !matches!(name, "keep-alive" | "transfer-encoding" | "upgrade" | "proxy-connection"),
            "{name}"
        );
    }
    for kept in ["host", "authorization", "content-length"] {
        let (before, after) = (headers.get_all(kept).iter(), rewritten.get_all(kept).iter());
        assert!(before.eq(after), "{kept} is nobody's to remove");
    }
}
