//! What outlives snapshots: endpoints with their addresses, and TLS configurations with their session caches.
//!
//! The Controller compiles with it, so that a reload finds again what it doesn't change, and workers keep
//! their pools. It must never keep what no snapshot uses any more.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use rustls::ClientConfig;

use crate::config::model::{Backend, EndpointUrl, Scheme};
use crate::source::file::read_regular;
use crate::upstream::endpoint::{Endpoint, InvalidEndpoint};
use crate::upstream::tls::{self, TlsError};

/// Endpoints and TLS configurations by identity.
#[derive(Debug, Default)]
pub struct Registry {
    next_id: u64,
    endpoints: HashMap<(EndpointUrl, usize), Weak<Endpoint>>,
    tls: HashMap<Option<Authorities>, Weak<ClientConfig>>,
}

impl Registry {
    /// The TLS configuration a backend needs; none for plain HTTP.
    ///
    /// # Errors
    /// Names the authorities that can't be had.
    pub fn tls(&mut self, backend: &Backend) -> Result<Option<Arc<ClientConfig>>, RegistryError> {
        if backend.endpoints.iter().all(|url| url.scheme == Scheme::Http) {
            return Ok(None);
        }
        self.tls.retain(|_, config| config.strong_count() > 0);
        let authorities = backend.ca_file.as_deref().map(Authorities::read).transpose()?;
        if let Some(known) = self.tls.get(&authorities).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        let config = match &authorities {
            Some(Authorities { path, pem }) => tls::with_ca_file(path, pem)?,
            None => tls::with_system_roots()?,
        };
        self.tls.insert(authorities, Arc::downgrade(&config));
        Ok(Some(config))
    }

    /// The endpoint of a URL, the same as before where it is in use already.
    ///
    /// # Errors
    /// Says so if the URL's host can't be sent.
    pub fn endpoint(
        &mut self,
        url: &EndpointUrl,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Arc<Endpoint>, RegistryError> {
        self.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        // The identity of a TLS configuration is its place in memory: it is alive while the endpoint is.
        let key = (url.clone(), tls.as_ref().map_or(0, |config| Arc::as_ptr(config).addr()));
        if let Some(known) = self.endpoints.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        self.next_id += 1;
        let endpoint = Arc::new(Endpoint::new(self.next_id, url.clone(), tls)?);
        self.endpoints.insert(key, Arc::downgrade(&endpoint));
        Ok(endpoint)
    }
}

/// Why a configuration that reads well can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A `ca_file` that can't be read.
    #[error("can't read the ca_file {0}: {1}; check the path and its permissions")]
    Read(String, #[source] std::io::Error),
    /// Authorities that can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An endpoint that can't be named.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// A `host` that can't be sent.
    #[error("the host `{0}` can't stand in a `Host` field; write a DNS name")]
    Host(String),
}

/// A file of authorities by path and content: a changed file is another set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Authorities {
    path: PathBuf,
    pem: Vec<u8>,
}

impl Authorities {
    fn read(path: &Path) -> Result<Self, RegistryError> {
        match read_regular(path) {
            Ok(pem) => Ok(Self { path: path.to_owned(), pem }),
            Err(error) => Err(RegistryError::Read(path.display().to_string(), error)),
        }
    }
}
