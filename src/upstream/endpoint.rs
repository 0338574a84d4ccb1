//! One address of a backend, as it outlives configurations: its identity, its TLS, the addresses its name has
//! now.
//!
//! The control thread makes endpoints (`snapshot::registry`) and publishes their addresses
//! (`upstream::resolve`); workers read them. It must never be locked.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::model::{EndpointUrl, Scheme};

/// An endpoint: shared by all workers and every snapshot that names it.
pub struct Endpoint {
    /// Its number, never used again: what pools are keyed by.
    pub id: u64,
    /// Where it is.
    pub url: EndpointUrl,
    /// Its own authority, as `Host` carries it.
    pub authority: HeaderValue,
    /// How to speak TLS with it, where it does.
    pub tls: Option<Arc<ClientConfig>>,
    addresses: ArcSwap<Vec<SocketAddr>>,
}

impl Endpoint {
    /// An endpoint whose addresses are known only if its URL has one.
    ///
    /// # Errors
    /// Says so if the URL's host can't stand in a `Host` field or a TLS handshake.
    pub fn new(id: u64, url: EndpointUrl, tls: Option<Arc<ClientConfig>>) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint(url.authority());
        let authority = HeaderValue::try_from(url.authority()).map_err(|_| invalid())?;
        if url.scheme == Scheme::Https {
            ServerName::try_from(url.host.as_str()).map_err(|_| invalid())?;
        }
        let literal = url.host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, url.port));
        let addresses = ArcSwap::from_pointee(literal.into_iter().collect());
        Ok(Self { id, url, authority, tls, addresses })
    }

    /// The addresses to connect to now; none while the name has never been resolved.
    pub fn addresses(&self) -> arc_swap::Guard<Arc<Vec<SocketAddr>>> {
        self.addresses.load()
    }

    /// Whether the URL has a name that changes its addresses, not an address.
    pub fn is_named(&self) -> bool {
        self.url.host.parse::<IpAddr>().is_err()
    }

    /// Replaces the addresses; says whether they differ from before.
    pub fn publish(&self, mut addresses: Vec<SocketAddr>) -> bool {
        addresses.sort_unstable();
        addresses.dedup();
        let differs = **self.addresses.load() != addresses;
        if differs {
            self.addresses.store(Arc::new(addresses));
        }
        differs
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

/// A host that parsed in a URL and yet can't be sent.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no host that can be named in `Host` or TLS; write a DNS name or an address")]
pub struct InvalidEndpoint(String);
