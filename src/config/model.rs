//! What a configuration means: values that can't be wrong, whatever the file said.
//!
//! `lower` builds it from the file, `quick_start` from the command line; `snapshot` compiles it. It must
//! never know how it was written down (spans, strings, units), nor hold a state that serving would have to
//! check again.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::health::Health;
use crate::config::limits::{Capacity, Limits, Timeouts};
use crate::headers::origin::Trust;
use crate::routing::pattern::{HostPattern, PathPrefix};
use crate::split::{Pin, Sticky, Weights};

/// A whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where we listen and how we end.
    pub server: Server,
    /// How TLS is spoken with visitors.
    pub tls: Tls,
    /// Which hops in front of us are believed.
    pub forwarded: Trust,
    /// The platforms, in the order of their names.
    pub backends: Vec<Backend>,
    /// The routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Every bound on sizes and counts.
    pub limits: Limits,
    /// Every bound on waiting towards visitors.
    pub timeouts: Timeouts,
    /// Where access records go.
    pub access_log: AccessLog,
    /// The certificate that is ordered and renewed by itself, where one is.
    pub acme: Option<Acme>,
    /// What tells one start without a file from another: the backends' URLs. Names and weights are always the same.
    pub words: Option<String>,
    /// Where overrides, history, the admin socket and certificates are kept; nothing keeps none.
    pub state_dir: Option<PathBuf>,
}

/// What `[server]` says. Changing it needs a restart; a reload that changes it is told so.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The listening addresses of plain HTTP; there is one at least here, in `unix` or in `https`.
    pub http: Vec<SocketAddr>,
    /// The paths of unix sockets, where plain HTTP is spoken, too.
    pub unix: Vec<PathBuf>,
    /// The listening addresses of HTTP over TLS.
    pub https: Vec<SocketAddr>,
    /// Whether each connection begins with a PROXY header (of HAProxy's specification, version 1 or 2).
    pub proxy_protocol: bool,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub metrics: Option<SocketAddr>,
    /// How many worker threads serve requests; nothing means one per core.
    pub workers: Option<NonZeroUsize>,
    /// How long requests in flight may take to finish after SIGTERM.
    pub drain_timeout: Duration,
    /// Where API and dashboard are served over TCP.
    pub admin: Option<Admin>,
}

/// API and dashboard over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where.
    pub address: SocketAddr,
    /// What lets in.
    pub token: Token,
    /// Names that a browser may call it by, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// Where the token of the admin API comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// This file.
    File(PathBuf),
    /// The environment.
    Environment,
    /// A file of the state directory, made at the first start.
    State(PathBuf),
}

/// How TLS is spoken with visitors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whose names we may speak for; the first is the default.
    pub certificates: Vec<CertificateFiles>,
    /// What a visitor gets who asks for a name that no certificate has.
    pub unknown_name: UnknownName,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Whether visitors show certificates of their own.
    pub clients: Option<ClientCertificates>,
    /// Where visitors who come in the clear are sent: https at this port of the same host. Nothing leaves them.
    pub redirect_http: Option<u16>,
    /// For how long browsers are told to come by TLS alone (RFC 6797); nothing tells them nothing.
    pub hsts: Option<Duration>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            unknown_name: UnknownName::Default,
            min_version: TlsVersion::Tls12,
            http2: true,
            clients: None,
            redirect_http: None,
            hsts: None,
        }
    }
}

/// A certificate and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateFiles {
    /// The certificate and those that lead to its authority, the server's own first.
    pub cert: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// What a visitor gets who asks for a name (SNI) that no certificate has. One who asks for none gets the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownName {
    /// The first certificate.
    Default,
    /// An alert instead of a certificate (RFC 6066 section 3).
    Refuse,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// RFC 5246, with forward secrecy and AEAD alone.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Certificates that visitors show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificates {
    /// PEM file of the authorities that sign them.
    pub ca_file: PathBuf,
    /// Whether a visitor without one is turned away.
    pub required: bool,
}

/// A name of a backend or a route: 1 to 63 of `a-z A-Z 0-9 _ . -`, not dots alone, fit for labels, headers and file
/// names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name, or nothing where `text` isn't one. As the name of a file, `.` and `..` would be a directory.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=63).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        let dots = text.bytes().all(|b| b == b'.');
        (fits && plain && !dots).then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A backend by its place in [`Config::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendIndex(pub usize);

/// One platform's copy of the app.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// Its name in weights, metrics and headers.
    pub name: Name,
    /// Its addresses, at least one.
    pub endpoints: Vec<EndpointUrl>,
    /// Whose rules it follows.
    pub platform: Platform,
    /// Which `Host` (and SNI) it gets.
    pub host: HostPolicy,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether HTTP/2 is spoken with it.
    pub http2: Http2,
    /// How long to wait for it.
    pub timeouts: BackendTimeouts,
    /// How much it is asked at a time.
    pub capacity: Capacity,
    /// How its health is found out.
    pub health: Health,
}

/// Where one endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointUrl {
    /// `scheme://host:port`.
    Network {
        /// Plain or TLS.
        scheme: Scheme,
        /// DNS name in lower case, or an address (IPv6 without brackets).
        host: String,
        /// The port, the scheme's own where the URL named none.
        port: u16,
    },
    /// `unix:/path`: a socket of this machine by its absolute path, without TLS.
    Unix(PathBuf),
}

impl EndpointUrl {
    /// The authority as it stands in `Host`: without the scheme's own port, IPv6 in brackets; a unix socket has none
    /// and is called `localhost`.
    pub fn authority(&self) -> String {
        match self {
            Self::Network { scheme, host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == scheme.default_port() { host } else { format!("{host}:{port}") }
            }
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Plain or TLS.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Network { scheme, .. } => *scheme,
            Self::Unix(_) => Scheme::Http,
        }
    }

    /// DNS name or address; a unix socket has none.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Network { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network { scheme, .. } => write!(f, "{}://{}", scheme.as_str(), self.authority()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether HTTP/2 is spoken with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Http2 {
    /// What it chooses in TLS (ALPN); HTTP/1.1 without TLS.
    Auto,
    /// Always: as the only choice in TLS, with prior knowledge without it (RFC 9113 section 3.3).
    Always,
    /// HTTP/1.1, always.
    #[default]
    Never,
}

pub use crate::headers::origin::Scheme;

/// Whose rules a backend follows: its limits, timeouts and header policy in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Platform {
    /// Any HTTP server.
    #[default]
    Generic,
    /// Heroku's router: 5 s connect, 30 s to the first byte, 55 s idle.
    Heroku,
    /// Fly.io's proxy.
    Fly,
    /// An AWS application load balancer: 60 s idle.
    Alb,
}

/// Which `Host` a backend gets; SNI follows it, but for an address, which has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// The endpoint's own authority.
    Backend,
    /// The visitor's.
    Preserve,
    /// This one, always.
    Fixed(String),
}

/// How long to wait for one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendTimeouts {
    /// TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte sent, or its head where it has no body, to the response's head.
    pub first_byte: Duration,
    /// How long an idle connection is kept for reuse. Below the platform's own, so that it is us who close.
    pub pool_idle: Duration,
}

/// Host pattern + path prefix → a split.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name in metrics and logs.
    pub name: Name,
    /// Which hosts; empty means any.
    pub hosts: Vec<HostPattern>,
    /// Which paths.
    pub path: PathPrefix,
    /// The backend that rollback returns to.
    pub stable: BackendIndex,
    /// The backends of the split, in the order of their names; stable is among them.
    pub backends: Vec<BackendIndex>,
    /// Their shares, by place in `backends`.
    pub weights: Weights,
    /// What a visitor's bucket is taken from.
    pub sticky: Sticky,
    /// Which request headers and cookies may name a backend.
    pub pin: Pin,
    /// What it does with requests at all.
    pub mode: Mode,
    /// Where requests go whose backend can't be reached.
    pub failover: Failover,
}

impl Route {
    /// Where in `backends` a request goes that the one at `position` couldn't be reached for.
    pub fn fallback(&self, position: usize) -> Option<usize> {
        let stable = self.weights.stable();
        match self.failover {
            Failover::Never => None,
            Failover::ToStable | Failover::Both(_) if position != stable => Some(stable),
            Failover::ToStable => None,
            Failover::Both(other) => self.backends.iter().position(|backend| *backend == other),
        }
    }
}

/// Where requests go whose backend can't be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failover {
    /// Nowhere: 502.
    Never,
    /// To stable; those of stable nowhere.
    #[default]
    ToStable,
    /// To stable; those of stable to this one.
    Both(BackendIndex),
}

/// What a route does with requests at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It passes them on.
    #[default]
    Open,
    /// It answers 503 itself.
    Maintenance,
}

impl Mode {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Maintenance => "maintenance",
        }
    }
}

/// A certificate ordered by ACME (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The names it is for, at least one, in lower case.
    pub domains: Vec<String>,
    /// The authority's directory, an `https://` URL.
    pub directory: String,
    /// PEM file of the authorities that the directory's own certificate is believed by, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// How it is proved that the names are ours.
    pub challenge: AcmeChallenge,
    /// `[state] dir`: what the account and the certificate are kept under.
    pub state_dir: PathBuf,
}

/// How it is proved that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// A file below `/.well-known/acme-challenge/`, asked for on port 80 (RFC 8555 section 8.3).
    Http,
    /// A certificate, asked for on port 443 (RFC 8737).
    TlsAlpn,
}

/// Where access records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// How a record is written.
    pub format: AccessFormat,
    /// Where to; nothing means nowhere.
    pub target: Option<LogTarget>,
}

/// How an access record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
    /// One line of `key=value` for reading.
    Text,
}

/// Where access records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; opened anew on SIGHUP.
    File(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_never_dots_alone() {
        for name in ["a", "A-1_b.c", ".a", "a..", "-", &"x".repeat(63)] {
            assert_eq!(Name::parse(name).unwrap().as_str(), name);
        }
        for text in ["", ".", "..", "...", "a b", "é", "a/b", &"x".repeat(64)] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}
