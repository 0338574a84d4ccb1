//! What outlives snapshots: endpoints with their addresses, TLS configurations with their session caches, and what
//! backends carry.
//!
//! The Controller compiles with it, so that a reload finds again what it doesn't change, and workers keep
//! their pools. It must never keep what no snapshot uses any more.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use rustls::{ClientConfig, ServerConfig};
use tokio::sync::Notify;

use crate::config::model::{Backend, CertificateFiles, EndpointUrl, Http2, Name, Scheme, Tls};
use crate::health::vitals::Vitals;
use crate::source::file::read_regular;
use crate::tls::certificate::{Certificate, CertificateError};
use crate::tls::serving::{self, ServingError};
use crate::tls::store::Store;
use crate::upstream::endpoint::{Endpoint, InvalidEndpoint};
use crate::upstream::load::Load;
use crate::upstream::tls::{self, TlsError};

/// Endpoints, TLS configurations and loads by identity.
#[derive(Debug, Default)]
pub struct Registry {
    next_id: u64,
    endpoints: HashMap<(Name, EndpointUrl, Http2, usize), Weak<Endpoint>>,
    tls: HashMap<(Option<Authorities>, Http2), Weak<ClientConfig>>,
    loads: HashMap<Name, Weak<Load>>,
    store: Store,
    alarm: Arc<Notify>,
    serving: Option<(Serving, Arc<ServerConfig>)>,
}

impl Registry {
    /// Of a process whose handshakes take their certificates from `store`.
    pub fn new(store: Store) -> Self {
        Self { store, ..Self::default() }
    }

    /// Where handshakes take their certificates from.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Told when the health of an endpoint should be looked at.
    pub fn alarm(&self) -> &Arc<Notify> {
        &self.alarm
    }

    /// What handshakes with visitors go by; the same as before where no setting of theirs has changed.
    ///
    /// # Errors
    /// Names the authorities of clients that can't be used.
    pub fn serving(&mut self, tls: &Tls) -> Result<Arc<ServerConfig>, RegistryError> {
        let read = |path: &Path| {
            read_regular(path).map_err(|error| ServingError::Read(path.display().to_string(), error))
        };
        let pem = tls.clients.as_ref().map(|clients| read(&clients.ca_file)).transpose()?;
        // Certificates are found by name in the store, whatever the settings.
        let settings = Serving { settings: Tls { certificates: Vec::new(), ..tls.clone() }, pem };
        if let Some((known, config)) = &self.serving
            && *known == settings
        {
            return Ok(Arc::clone(config));
        }
        let config = serving::config(tls, settings.pem.as_deref(), self.store.clone())?;
        let config = Arc::new(config);
        self.serving = Some((settings, Arc::clone(&config)));
        Ok(config)
    }

    /// The TLS configuration a backend needs; none for plain HTTP.
    ///
    /// # Errors
    /// Names the authorities that can't be had.
    pub fn tls(&mut self, backend: &Backend) -> Result<Option<Arc<ClientConfig>>, RegistryError> {
        if backend.endpoints.iter().all(|url| url.scheme() == Scheme::Http) {
            return Ok(None);
        }
        self.tls.retain(|_, config| config.strong_count() > 0);
        let authorities = backend.ca_file.as_deref().map(Authorities::read).transpose()?;
        let key = (authorities, backend.http2);
        if let Some(known) = self.tls.get(&key).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        let config = match &key {
            (Some(Authorities { path, pem }), http2) => tls::with_ca_file(path, pem, *http2)?,
            (None, http2) => tls::with_system_roots(*http2)?,
        };
        self.tls.insert(key, Arc::downgrade(&config));
        Ok(Some(config))
    }

    /// What the backend of this name carries, wherever it is now.
    pub fn load(&mut self, name: &Name) -> Arc<Load> {
        self.loads.retain(|_, load| load.strong_count() > 0);
        if let Some(known) = self.loads.get(name).and_then(Weak::upgrade) {
            return known;
        }
        let load = Arc::new(Load::new(Instant::now()));
        self.loads.insert(name.clone(), Arc::downgrade(&load));
        load
    }

    /// The endpoint of a backend's URL, the same as before where it is in use already in the same way. Two backends
    /// have one each, though they name the same: each has a health of its own.
    ///
    /// # Errors
    /// Says so if the URL's host can't be sent.
    pub fn endpoint(
        &mut self,
        backend: &Name,
        url: &EndpointUrl,
        http2: Http2,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Arc<Endpoint>, RegistryError> {
        self.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        // The identity of a TLS configuration is its place in memory: it is alive while the endpoint is.
        let identity = tls.as_ref().map_or(0, |config| Arc::as_ptr(config).addr());
        let key = (backend.clone(), url.clone(), http2, identity);
        if let Some(known) = self.endpoints.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        self.next_id += 1;
        let vitals = Vitals::new(Arc::clone(&self.alarm));
        let endpoint = Arc::new(Endpoint::new(self.next_id, url.clone(), http2, tls, vitals)?);
        self.endpoints.insert(key, Arc::downgrade(&endpoint));
        Ok(endpoint)
    }
}

/// Reads a certificate and its key, and checks both.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn certificate(files: &CertificateFiles) -> Result<Certificate, CertificateError> {
    let read = |path: &Path| {
        read_regular(path).map_err(|error| CertificateError::Read(path.display().to_string(), error))
    };
    let (cert, key) = (read(&files.cert)?, read(&files.key)?);
    Certificate::of_pem((&files.cert, &cert), (&files.key, &key), SystemTime::now())
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
    /// A certificate that can't be served.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Settings of handshakes that can't be used.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// An endpoint that can't be named.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// A `host` that can't be sent.
    #[error("the host `{0}` can't stand in a `Host` field; write a DNS name")]
    Host(String),
}

/// What makes a configuration of handshakes another.
#[derive(Debug, PartialEq, Eq)]
struct Serving {
    settings: Tls,
    pem: Option<Vec<u8>>,
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
