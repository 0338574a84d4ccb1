//! One address of a backend, as it outlives configurations: its identity, its TLS, the addresses its name has now, how
//! it does.
//!
//! The control thread makes endpoints (`snapshot::registry`) and publishes their addresses
//! (`upstream::resolve`); workers read them. It must never be locked.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::limits::DNS_KEEP;
use crate::config::model::{EndpointUrl, Http2, Scheme};
use crate::headers::authority::parse_authority;
use crate::health::vitals::Vitals;
use crate::upstream::shunned::Shunned;

/// An endpoint: shared by all workers and every snapshot that names it.
pub struct Endpoint {
    /// Its number, never used again: what pools are keyed by.
    pub id: u64,
    /// Where it is.
    pub url: EndpointUrl,
    /// Its own authority, as `Host` carries it.
    pub authority: HeaderValue,
    /// Its own name in TLS, unless another is configured.
    pub server_name: Option<ServerName<'static>>,
    /// How to speak TLS with it, where it does.
    pub tls: Option<Arc<ClientConfig>>,
    /// Whether HTTP/2 is spoken with it.
    pub http2: Http2,
    /// How it does.
    pub vitals: Vitals,
    /// Which of its addresses take no connections.
    pub shunned: Shunned,
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// Every address of the last few minutes and when it was last found: names answer with a changing part of theirs.
    recent: ArcSwap<Vec<(SocketAddr, Instant)>>,
    lookups: AtomicU8,
}

impl Endpoint {
    /// An endpoint whose addresses are known only if its URL has one.
    ///
    /// # Errors
    /// Says so if the URL's host can't stand in a `Host` field or a TLS handshake.
    pub fn new(
        id: u64,
        url: EndpointUrl,
        http2: Http2,
        tls: Option<Arc<ClientConfig>>,
        vitals: Vitals,
    ) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint(url.authority());
        let authority = HeaderValue::try_from(url.authority()).map_err(|_| invalid())?;
        let server_name = url.host().and_then(|host| ServerName::try_from(host.to_owned()).ok());
        if url.scheme() == Scheme::Https && server_name.is_none() {
            return Err(invalid());
        }
        let addresses = ArcSwap::from_pointee(literal(&url).into_iter().collect());
        let (recent, lookups) = (ArcSwap::default(), AtomicU8::new(Lookups::None as u8));
        let shunned = Shunned::default();
        Ok(Self { id, url, authority, server_name, tls, http2, vitals, shunned, addresses, recent, lookups })
    }

    /// The addresses to connect to now, those of the family that the resolver prefers first; none while the name has
    /// never been resolved, or for a unix socket.
    pub fn addresses(&self) -> arc_swap::Guard<Arc<Vec<SocketAddr>>> {
        self.addresses.load()
    }

    /// Name and port, where the URL has a name that changes its addresses.
    pub fn name(&self) -> Option<(&str, u16)> {
        match &self.url {
            EndpointUrl::Network { host, port, .. } if literal(&self.url).is_none() => Some((host, *port)),
            EndpointUrl::Network { .. } | EndpointUrl::Unix(_) => None,
        }
    }

    /// Whether its name waits for its first lookup.
    pub fn is_new(&self) -> bool {
        self.name().is_some() && self.lookups.load(Ordering::Relaxed) == Lookups::None as u8
    }

    /// Whether its name has no address, although it was looked up.
    pub fn is_unresolved(&self) -> bool {
        self.name().is_some() && self.addresses.load().is_empty()
    }

    /// Notes how a lookup went; says whether the one before went otherwise.
    pub fn looked_up(&self, found: bool) -> bool {
        let now = if found { Lookups::Found } else { Lookups::Failed } as u8;
        self.lookups.swap(now, Ordering::Relaxed) != now
    }

    /// Whether it had this address within [`DNS_KEEP`].
    pub fn has_had(&self, address: SocketAddr) -> bool {
        self.addresses.load().contains(&address)
            || self.recent.load().iter().any(|(recent, _)| *recent == address)
    }

    /// Replaces the addresses by those found `now`; says whether they differ from before.
    pub fn publish(&self, mut addresses: Vec<SocketAddr>, now: Instant) -> bool {
        // The resolver knows which family reaches further (RFC 6724); within one the order is chance.
        let preferred = addresses.first().map(SocketAddr::is_ipv6);
        addresses.sort_unstable_by_key(|address| (Some(address.is_ipv6()) != preferred, *address));
        addresses.dedup();
        let before = self.recent.load();
        let earlier = before.iter().filter(|(address, found)| {
            !addresses.contains(address) && now.saturating_duration_since(*found) < DNS_KEEP
        });
        let recent = addresses.iter().map(|&address| (address, now)).chain(earlier.copied()).collect();
        self.recent.store(Arc::new(recent));
        let differs = **self.addresses.load() != addresses;
        if differs {
            self.addresses.store(Arc::new(addresses));
        }
        differs
    }
}

/// How the last lookup of a name went.
enum Lookups {
    /// There was none.
    None,
    Found,
    Failed,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

/// The name in TLS (SNI) that goes with a `Host`; nothing where that can't be one.
pub fn sni(host: &HeaderValue) -> Option<ServerName<'static>> {
    let host = parse_authority(host.as_bytes())?.host.trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned()).ok()
}

/// A host that parsed in a URL and yet can't be sent.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no host that can be named in `Host` or TLS; write a DNS name or an address")]
pub struct InvalidEndpoint(String);

/// The one address of a URL that has no name.
fn literal(url: &EndpointUrl) -> Option<SocketAddr> {
    match url {
        EndpointUrl::Network { host, port, .. } => Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, *port)),
        EndpointUrl::Unix(_) => None,
    }
}
