//! The corrected facts of a visitor: address, scheme, host, port, prefix.
//!
//! The proxy resolves one [`Origin`] per request; routing, the split and [`outgoing`](super::outgoing) go by
//! it. The rules are those of Werkzeug's ProxyFix (3.1.7 and later), over all lines of a header as a WSGI
//! server joins them. It must never believe more hops than configured, nor a value that isn't what it claims
//! to be: such a value is ignored as if nobody had sent it.

use std::net::IpAddr;
use std::str;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::{IpNet, Ipv4Net};

use super::authority::{parse_authority, parse_port};
use super::list::parse_list_header;
use super::names;
use crate::config::limits::PREFIX_SIZE;

/// What a visitor is and asked for, as far as we believe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The visitor's address; IPv4 also where it came mapped into IPv6.
    pub client: IpAddr,
    /// The scheme the visitor used.
    pub scheme: Scheme,
    /// The host the visitor asked for: `host[:port]` without the scheme's own port, IPv6 in brackets.
    pub host: HeaderValue,
    /// The port the visitor asked for: as believed, else the host's, else the scheme's own. Never 0.
    pub port: u16,
    /// The path that a proxy in front of us took away: starts with one `/`, at most 256 visible characters.
    pub prefix: Option<HeaderValue>,
}

impl Origin {
    /// ProxyFix's rules for one request. `host` is the request's own, already found valid by
    /// [`parse_authority`]. Without believed hops this allocates nothing.
    pub fn resolve(trust: &Trust, peer: &Peer, host: &HeaderValue, headers: &HeaderMap) -> Self {
        let hops = trust.hops_behind(peer.address);
        let client = believed(headers, &names::X_FORWARDED_FOR, hops.x_for, parse_client);
        let scheme = believed(headers, &names::X_FORWARDED_PROTO, hops.x_proto, parse_scheme);
        let scheme = scheme.unwrap_or(peer.scheme);
        let believed_host = believed(headers, &names::X_FORWARDED_HOST, hops.x_host, parse_host);
        let believed_port = believed(headers, &names::X_FORWARDED_PORT, hops.x_port, parse_port);
        let (host, port) = public_host(believed_host.as_ref().unwrap_or(host), believed_port, scheme);
        Self {
            client: client.unwrap_or(peer.address.to_canonical()),
            scheme,
            host,
            port,
            prefix: believed(headers, &names::X_FORWARDED_PREFIX, hops.x_prefix, parse_prefix),
        }
    }

    /// The host without a port.
    pub fn host_name(&self) -> &str {
        let host = self.host.to_str().unwrap_or_default();
        match host.rsplit_once(':') {
            // Of an address in brackets it is one of its own.
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        }
    }
}

/// How a visitor speaks to us, or we to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// ProxyFix's own arguments: which of the values counted from the right is believed, per header. 0 believes
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hops {
    /// Of `X-Forwarded-For`.
    pub x_for: u8,
    /// Of `X-Forwarded-Proto`.
    pub x_proto: u8,
    /// Of `X-Forwarded-Host`.
    pub x_host: u8,
    /// Of `X-Forwarded-Port`.
    pub x_port: u8,
    /// Of `X-Forwarded-Prefix`.
    pub x_prefix: u8,
}

/// Which hops in front of us are believed, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// How many hops.
    pub hops: Hops,
    /// From which peers; nothing means any. A peer mapped into IPv6 (`::ffff:10.0.0.1`) counts as its IPv4
    /// address.
    pub trusted: Option<Vec<IpNet>>,
}

impl Trust {
    /// Whether `peer` is among those that are named.
    pub fn names(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.as_ref().is_some_and(|networks| networks.iter().any(|network| network.contains(&peer)))
    }

    /// The hops believed of a connection from `peer`.
    fn hops_behind(&self, peer: IpAddr) -> Hops {
        let peer = peer.to_canonical();
        match &self.trusted {
            Some(nets) if !nets.iter().any(|net| covers(net, &peer)) => Hops::default(),
            Some(_) | None => self.hops,
        }
    }
}

/// The connection's own facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who opened it.
    pub address: IpAddr,
    /// Whether it is TLS.
    pub scheme: Scheme,
}

/// Whether `net` holds `peer`; a net of mapped addresses means the IPv4 net in it.
fn covers(net: &IpNet, peer: &IpAddr) -> bool {
    let mapped = match net {
        IpNet::V6(net) => net.addr().to_ipv4_mapped().zip(net.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    match mapped.map(|(address, prefix)| Ipv4Net::new(address, prefix)) {
        Some(Ok(net)) => IpNet::V4(net).contains(peer),
        Some(Err(_)) | None => net.contains(peer),
    }
}

/// The value that the outermost believed hop wrote into `name`, if there is one and `parse` finds it sane.
fn believed<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    hops: u8,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    if hops == 0 {
        return None;
    }
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return parse(&parse_list_header(first).from_right(hops)?);
    };
    // A quote may open in one line and close in the next, so the lines are read as the one value they are
    // (RFC 9110 section 5.3).
    let mut joined = [first, second].join(&b',');
    for line in lines {
        joined.push(b',');
        joined.extend_from_slice(line);
    }
    parse(&parse_list_header(&joined).from_right(hops)?)
}

/// An address, perhaps with a port as Azure and ALB write it: `1.2.3.4`, `1.2.3.4:5678`, `2001:db8::a`,
/// `[2001:db8::a]:5678`.
fn parse_client(item: &[u8]) -> Option<IpAddr> {
    let bare = str::from_utf8(item).ok().and_then(|text| text.parse::<IpAddr>().ok());
    bare.or_else(|| parse_authority(item)?.address()).map(|address| address.to_canonical())
}

/// A scheme in any case. A WebSocket's is that of the request that opened it.
fn parse_scheme(item: &[u8]) -> Option<Scheme> {
    let is = |name: &str| item.eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("https") || is("wss") => Some(Scheme::Https),
        () if is("http") || is("ws") => Some(Scheme::Http),
        () => None,
    }
}

fn parse_host(item: &[u8]) -> Option<HeaderValue> {
    parse_authority(item)?;
    HeaderValue::from_bytes(item).ok()
}

/// A path that can stand in front of ours in a URL and as one item of a list: no `//` or `/\` at its start,
/// which would name another host, and nothing that ends a path or an item.
fn parse_prefix(item: &[u8]) -> Option<HeaderValue> {
    let starts = item.first() == Some(&b'/') && item.get(1) != Some(&b'/');
    let path = |b: &u8| b.is_ascii_graphic() && !matches!(b, b',' | b'"' | b'\\' | b'?' | b'#' | b'<' | b'>');
    let sane = starts && item.len() <= PREFIX_SIZE && item.iter().all(path);
    if sane { HeaderValue::from_bytes(item).ok() } else { None }
}

/// The host as the visitor's address bar shows it, and its port: ProxyFix's steps 3 and 4, and what
/// `get_host` does with the result.
fn public_host(host: &HeaderValue, believed_port: Option<u16>, scheme: Scheme) -> (HeaderValue, u16) {
    let own = scheme.default_port();
    let Some(authority) = parse_authority(host.as_bytes()) else {
        return (host.clone(), believed_port.unwrap_or(own));
    };
    let port = believed_port.or(authority.port).unwrap_or(own);
    let shown = (port != own).then_some(port);
    if authority.port == shown {
        return (host.clone(), port);
    }
    let text = match shown {
        Some(port) => format!("{}:{port}", authority.host),
        None => authority.host.to_owned(),
    };
    // A valid authority has only visible characters.
    (HeaderValue::try_from(text).unwrap_or_else(|_| host.clone()), port)
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
