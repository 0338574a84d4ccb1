//! What is believed of a visitor, and what a backend is told of it.
//!
//! `micro` and `icount` call it. It must never rewrite the same fields twice: the second time there is less to do.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use crossfade::headers::origin::{Hops, Origin, Peer, Scheme, Trust};
use crossfade::headers::outgoing::{Outgoing, client_value, rewrite};
use crossfade::upstream::out::put;
use http::{HeaderMap, HeaderValue, Version};

use super::{BROWSER, fields};

const PEER: Peer = Peer { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), scheme: Scheme::Http };

/// What a load balancer in front of us adds.
const BALANCER: [(&str, &str); 4] = [
    ("x-forwarded-for", "198.51.100.4, 203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "shop.example.com"),
    ("x-forwarded-port", "443"),
];

/// A request behind a load balancer.
pub(crate) struct Resolving {
    trust: Trust,
    host: HeaderValue,
    headers: HeaderMap,
}

impl Resolving {
    /// Where so many hops are believed.
    pub(crate) fn new(hops: u8) -> Self {
        let hops = Hops { x_for: hops, x_proto: hops, x_host: hops, x_port: hops, x_prefix: hops };
        let all = [&BROWSER[..], &BALANCER[..]].concat();
        Self {
            trust: Trust { hops, trusted: None },
            host: HeaderValue::from_static("shop.example.com"),
            headers: fields(&all),
        }
    }

    /// One request's visitor.
    pub(crate) fn resolve(&self) -> Origin {
        Origin::resolve(&self.trust, &PEER, &self.host, &self.headers)
    }
}

/// A browser's fields on their way to a backend.
pub(crate) struct Leaving {
    headers: HeaderMap,
    origin: Origin,
    client: HeaderValue,
    request_id: HeaderValue,
    out: BytesMut,
}

impl Leaving {
    /// With room for what is written.
    pub(crate) fn new() -> Self {
        let origin = Resolving::new(0).resolve();
        Self {
            headers: fields(&BROWSER),
            client: client_value(origin.client),
            origin,
            request_id: HeaderValue::from_static("0123456789abcdef0123456789abcdef"),
            out: BytesMut::with_capacity(2048),
        }
    }

    /// Takes out what a backend doesn't receive, and writes what it is told besides.
    pub(crate) fn rewrite(&mut self) -> usize {
        let outgoing = Outgoing {
            origin: &self.origin,
            request_id: &self.request_id,
            now_ms: 1_790_000_000_000,
            version: Version::HTTP_11,
            client: &self.client,
        };
        let ours = rewrite(&mut self.headers, &outgoing);
        ours.each(|name, value| put(&mut self.out, name.as_str(), value));
        self.out.len()
    }
}
