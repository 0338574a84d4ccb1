//! The compiled configuration that serves requests: immutable, complete, swapped by one atomic store.
//!
//! The Controller compiles and publishes it, workers read it. A snapshot is complete or it does not exist;
//! one request sees one snapshot. It must never hold state that outlives it: that is the registry's.

pub mod publish;
pub mod registry;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use rustls::ServerConfig;
use rustls::pki_types::ServerName;

use crate::config::model::{self, BackendIndex, Config, EndpointUrl, HostPolicy, Name};
use crate::routing::Router;
use crate::snapshot::registry::{Registry, RegistryError};
use crate::telemetry::loads::Carried;
use crate::telemetry::metrics::Share;
use crate::tls::certificate::Certificate;
use crate::upstream::endpoint::{Endpoint, sni};
use crate::upstream::load::Load;

/// What serves requests.
#[derive(Debug)]
pub struct Snapshot {
    /// Its number, growing by one with each publication.
    pub revision: u64,
    /// What it was compiled from.
    pub config: Config,
    /// Host and path → place in `routes`.
    pub router: Router,
    /// By place in `config.routes`.
    pub routes: Vec<Route>,
    /// By place in `config.backends`.
    pub backends: Vec<Backend>,
    /// What handshakes go by.
    pub tls: Arc<ServerConfig>,
    /// `Strict-Transport-Security` for visitors by TLS, where browsers are told to stay.
    pub hsts: Option<HeaderValue>,
    /// When its files were read.
    pub read_at: SystemTime,
    /// The configuration's own certificates, the first the default.
    pub certificates: Vec<Certificate>,
}

impl Snapshot {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// Names the file of authorities, or the endpoint, that can't be used.
    pub fn compile(config: Config, revision: u64, registry: &mut Registry) -> Result<Self, RegistryError> {
        let read_at = SystemTime::now();
        let backends = config
            .backends
            .iter()
            .map(|backend| Backend::compile(backend, registry))
            .collect::<Result<_, _>>()?;
        let routes = config.routes.iter().map(|route| Route::compile(route, &config)).collect();
        let router = Router::new(config.routes.iter().map(|route| (route.hosts.as_slice(), &route.path)));
        let certificates =
            config.tls.certificates.iter().map(registry::certificate).collect::<Result<_, _>>()?;
        let hsts = config.tls.hsts.map(|age| {
            HeaderValue::try_from(format!("max-age={}", age.as_secs())).expect("digits are a field value")
        });
        let tls = registry.serving(&config.tls)?;
        Ok(Self { revision, config, router, routes, backends, tls, hsts, read_at, certificates })
    }

    /// The same with other weights, pins and modes: `routes` are this one's own, changed in nothing else. It reads no
    /// file, so that a way back stays open whatever has become of them.
    #[must_use]
    pub fn steered(&self, routes: Vec<model::Route>, revision: u64) -> Self {
        debug_assert_eq!(routes.len(), self.routes.len(), "a route has been added");
        let Self { router, routes: compiled, backends, tls, hsts, certificates, .. } = self;
        Self {
            revision,
            config: Config { routes, ..self.config.clone() },
            router: router.clone(),
            routes: compiled.clone(),
            backends: backends.clone(),
            tls: Arc::clone(tls),
            hsts: hsts.clone(),
            read_at: self.read_at,
            certificates: certificates.clone(),
        }
    }

    /// Every pair of route and backend.
    pub fn shares(&self) -> impl Iterator<Item = Share<'_>> {
        self.config.routes.iter().zip(&self.routes).flat_map(|(route, compiled)| {
            compiled.names.iter().enumerate().map(move |(at, name)| Share {
                route: route.name.as_str(),
                backend: name.as_str(),
                weight_ratio: route.weights.ratio(at),
                is_stable: at == route.weights.stable(),
                mode: route.mode.as_str(),
            })
        })
    }

    /// What all backends carry.
    pub fn loads(&self) -> impl Iterator<Item = Carried> {
        self.config.backends.iter().zip(&self.backends).map(|(model, backend)| Carried {
            backend: model.name.to_string(),
            load: Arc::clone(&backend.load),
            capacity: model.capacity,
        })
    }

    /// The endpoints of all backends.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.backends.iter().flat_map(|backend| &backend.endpoints)
    }
}

/// What of a route isn't in its model.
#[derive(Debug, Clone)]
pub struct Route {
    /// The names of its backends, by place in the route.
    pub names: Vec<Name>,
}

impl Route {
    fn compile(route: &model::Route, config: &Config) -> Self {
        let name = |BackendIndex(at): &BackendIndex| config.backends[*at].name.clone();
        Self { names: route.backends.iter().map(name).collect() }
    }
}

/// A backend, ready to be asked.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Its addresses, at least one.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Which `Host` it gets.
    pub host: Host,
    /// The name in TLS that goes with a fixed `Host`.
    pub server_name: Option<ServerName<'static>>,
    /// Its own authorities in lower case: what must not reach the visitor in a `Location`.
    pub authorities: Vec<String>,
    /// How long to wait for it.
    pub timeouts: model::BackendTimeouts,
    /// What it carries over all workers.
    pub load: Arc<Load>,
}

impl Backend {
    fn compile(backend: &model::Backend, registry: &mut Registry) -> Result<Self, RegistryError> {
        let tls = registry.tls(backend)?;
        let endpoint = |url: &EndpointUrl| registry.endpoint(&backend.name, url, backend.http2, tls.clone());
        let endpoints = backend.endpoints.iter().map(endpoint).collect::<Result<Vec<_>, _>>()?;
        let mut authorities: Vec<String> =
            backend.endpoints.iter().map(|url| url.authority().to_ascii_lowercase()).collect();
        let host = match &backend.host {
            HostPolicy::Backend => Host::Own,
            HostPolicy::Preserve => Host::Preserve,
            HostPolicy::Fixed(name) => {
                authorities.push(name.to_ascii_lowercase());
                Host::Fixed(HeaderValue::try_from(name).map_err(|_| RegistryError::Host(name.clone()))?)
            }
        };
        let server_name = match &host {
            Host::Fixed(host) => sni(host),
            Host::Own | Host::Preserve => None,
        };
        let load = registry.load(&backend.name);
        Ok(Self { endpoints, host, server_name, authorities, timeouts: backend.timeouts, load })
    }

    /// The longest that an idle connection to it is kept.
    pub fn keep(&self) -> Duration {
        self.timeouts.pool_idle
    }
}

/// Which `Host` a backend gets.
#[derive(Debug, Clone)]
pub enum Host {
    /// The endpoint's own authority.
    Own,
    /// The visitor's.
    Preserve,
    /// This one.
    Fixed(HeaderValue),
}
