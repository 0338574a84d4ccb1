//! What an endpoint is asked to find out how it does: a request that looks like a visitor's, and what its answer means.
//!
//! `watch` makes one for each endpoint, `prober` sends it. It must never hold anything that a visitor has sent.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::header::{ACCEPT, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};
use rustls::pki_types::ServerName;

use crate::config::health::Probe;
use crate::config::limits::PROBE_FIELDS;
use crate::config::limits::health::PROBE_TIMEOUT;
use crate::config::model::{Platform, Route};
use crate::headers::authority::parse_authority;
use crate::headers::origin::{Origin, Scheme};
use crate::headers::outgoing::{Outgoing, client_value, rewrite};
use crate::health::platform::is_own_page;
use crate::routing::pattern::HostPattern;
use crate::snapshot::{Host, Snapshot};
use crate::upstream::connect::{ConnectError, ConnectLimits};
use crate::upstream::endpoint::{Endpoint, sni};
use crate::upstream::upload::Upload;

/// How we call ourselves.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("crossfade/", env!("CARGO_PKG_VERSION"), " (health)"));
/// How much of a `Location` is shown.
const SHOWN: usize = 100;

/// How an endpoint is reached, and what it is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What is asked for; nothing where it is only connected to.
    pub probe: Option<Probe>,
    /// The `Host`.
    pub host: HeaderValue,
    /// The name in TLS.
    pub server_name: Option<ServerName<'static>>,
    /// How long connecting may take.
    pub connect: Duration,
    /// What visitors call the app.
    public: HeaderValue,
    platform: Platform,
}

impl Question {
    /// For an endpoint of the backend at this place.
    pub fn of(snapshot: &Snapshot, at: usize, endpoint: &Endpoint) -> Self {
        let (model, backend) = (&snapshot.config.backends[at], &snapshot.backends[at]);
        let named = model.health.probe.as_ref().and_then(|probe| probe.host.as_deref());
        let named = named.and_then(|host| HeaderValue::try_from(host).ok());
        let uses = |route: &&Route| route.backends.iter().any(|backend| backend.0 == at);
        let public =
            snapshot.config.routes.iter().filter(uses).flat_map(|route| &route.hosts).find_map(whole);
        let own = &endpoint.authority;
        let host = match (&named, &backend.host) {
            (Some(named), _) => named,
            (None, Host::Fixed(host)) => host,
            (None, Host::Preserve) => public.as_ref().unwrap_or(own),
            (None, Host::Own) => own,
        };
        let server_name = match (&named, &backend.host) {
            _ if endpoint.tls.is_none() => None,
            (None, Host::Own) => endpoint.server_name.clone(),
            _ => sni(host).or_else(|| endpoint.server_name.clone()),
        };
        Self {
            probe: model.health.probe.clone(),
            host: host.clone(),
            server_name,
            connect: model.timeouts.connect,
            public: public.as_ref().unwrap_or(host).clone(),
            platform: model.platform,
        }
    }

    /// The same, which only connects.
    #[must_use]
    pub fn without_probe(self) -> Self {
        Self { probe: None, ..self }
    }

    /// How long connecting and writing may take.
    pub fn limits(&self) -> ConnectLimits {
        ConnectLimits { connect: self.connect, write: PROBE_TIMEOUT, header_count: PROBE_FIELDS }
    }

    /// A request for `probe`, as one of a visitor over https would leave us, but for its `Host`.
    pub fn request(&self, probe: &Probe, id: &HeaderValue, now_ms: u64) -> Request<Upload> {
        let mut request = Request::new(Upload::none());
        *request.uri_mut() = Uri::from(probe.path.clone());
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (scheme, host) = (Scheme::Https, self.public.clone());
        let port = parse_authority(host.as_bytes()).and_then(|authority| authority.port).unwrap_or(443);
        let origin = Origin { client, scheme, host, port, prefix: None };
        let (origin, client) = (&origin, &client_value(client));
        let version = Version::HTTP_11;
        rewrite(headers, &Outgoing { origin, request_id: id, now_ms, version, client }).insert(headers);
        for (name, value) in &probe.headers {
            headers.insert(name, value.clone());
        }
        request
    }

    /// What an answer to `probe` means.
    pub fn judge(&self, probe: &Probe, status: StatusCode, headers: &HeaderMap) -> Finding {
        if probe.expected.has(status) {
            return Finding::Good(status);
        }
        if is_own_page(self.platform, status, headers) {
            return Finding::Page(status);
        }
        let location =
            headers.get(LOCATION).and_then(|value| value.to_str().ok()).filter(|_| status.is_redirection());
        match location {
            Some(location) if self.is_same_by_https(probe, location) => Finding::ToHttps(status),
            Some(location) => Finding::Elsewhere(status, location.chars().take(SHOWN).collect()),
            None => Finding::Bad(status),
        }
    }

    /// Whether a `Location` is what was asked for, over https.
    fn is_same_by_https(&self, probe: &Probe, location: &str) -> bool {
        let Ok(target) = location.parse::<Uri>() else { return false };
        let name =
            |host: &HeaderValue| parse_authority(host.as_bytes()).map(|authority| authority.host.to_owned());
        let host = target.authority().map(|authority| authority.host().to_owned());
        let known = host.is_some() && (host == name(&self.host) || host == name(&self.public));
        known && target.scheme_str() == Some("https") && target.path() == probe.path.path()
    }
}

/// What a probe has found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is as it should be.
    Good(StatusCode),
    /// It lives, and sends who comes by https to https: it doesn't believe what it is told of the visitor's scheme.
    ToHttps(StatusCode),
    /// It sends to somewhere else.
    Elsewhere(StatusCode, String),
    /// It has another status than it should.
    Bad(StatusCode),
    /// The platform has answered in place of the app.
    Page(StatusCode),
    /// Nothing came in time.
    Silent(Duration),
    /// It couldn't be connected to.
    Unreached(String),
    /// It broke off, or doesn't speak HTTP.
    Broken,
}

impl Finding {
    /// What an error of connecting means; nothing where this machine is to blame.
    pub fn of_connect(error: &ConnectError) -> Option<Self> {
        (!error.is_our_own()).then(|| Self::Unreached(error.to_string()))
    }

    /// Whether the app lives.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good(_) | Self::ToHttps(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good(status) => write!(f, "{}", status.as_u16()),
            Self::ToHttps(status) => write!(f, "{} to https of the same", status.as_u16()),
            Self::Elsewhere(status, location) => write!(f, "{} to {location}", status.as_u16()),
            Self::Bad(status) => write!(f, "answered {status}"),
            Self::Page(status) => write!(f, "the platform's own page, {status}, in place of the app"),
            Self::Silent(limit) => write!(f, "no answer within {limit:?}"),
            Self::Unreached(error) => f.write_str(error),
            Self::Broken => f.write_str("it broke off without an answer of HTTP"),
        }
    }
}

/// A host that a visitor could name.
fn whole(pattern: &HostPattern) -> Option<HeaderValue> {
    match pattern {
        HostPattern::Exact(name) if name.contains(':') => HeaderValue::try_from(format!("[{name}]")).ok(),
        HostPattern::Exact(name) => HeaderValue::try_from(name).ok(),
        HostPattern::Wildcard(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::registry::Registry;

    /// The question for `backends.a` with these keys, `hosts` of its route aside.
    fn question(keys: &str, hosts: &str) -> Question {
        let text = format!(
            "server.http = \"127.0.0.1:0\"\n[backends.a]\nurl = \"http://app.example:81\"\n{keys}\n\
             [[routes]]\nname = \"web\"\nhosts = {hosts}\nweights = {{ a = 1 }}\n"
        );
        let config = crate::config::load(&text, &|_| None).unwrap().config;
        let snapshot = Snapshot::compile(config, 1, &mut Registry::default()).unwrap();
        Question::of(&snapshot, 0, &snapshot.backends[0].endpoints[0])
    }

    #[test]
    fn a_probe_looks_as_a_visitors_request_would() {
        let hosts = "[\"*.example.com\", \"www.example.com\"]";
        for (keys, host, public) in [
            ("health.path = \"/up\"", "app.example:81", "www.example.com"),
            ("host = \"preserve\"\nhealth.path = \"/up\"", "www.example.com", "www.example.com"),
            ("host = \"b.example\"\nhealth.path = \"/up\"", "b.example", "www.example.com"),
            ("health = { path = \"/up\", host = \"c.example\" }", "c.example", "www.example.com"),
        ] {
            let question = question(keys, hosts);
            let request =
                question.request(question.probe.as_ref().unwrap(), &HeaderValue::from_static("id"), 5);
            let field = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            assert_eq!((question.host.to_str().unwrap(), field("x-forwarded-host").as_str()), (host, public));
            assert_eq!([field("x-forwarded-proto"), field("x-forwarded-port")], ["https", "443"]);
            assert_eq!([field("x-forwarded-for"), field("x-real-ip")], ["127.0.0.1", "127.0.0.1"]);
            assert_eq!((request.uri().path(), field("x-request-id").as_str()), ("/up", "id"));
            assert!(field("user-agent").starts_with("crossfade/"));
        }
        let nameless = question("host = \"preserve\"\nhealth.path = \"/up\"", "[\"*.example.com\"]");
        assert_eq!(nameless.host, "app.example:81");
    }

    #[test]
    fn what_is_asked_for_can_be_set_beside_what_is_said() {
        let keys =
            "health = { path = \"/up?deep=1\", headers = { x-forwarded-proto = \"http\", X-Key = \"k\" } }";
        let question = question(keys, "[\"www.example.com\"]");
        let request = question.request(question.probe.as_ref().unwrap(), &HeaderValue::from_static("id"), 5);
        assert_eq!(request.uri(), "/up?deep=1");
        assert_eq!(
            (&request.headers()["x-forwarded-proto"], &request.headers()["x-key"]),
            (&HeaderValue::from_static("http"), &HeaderValue::from_static("k"),)
        );
    }

    #[test]
    fn answers_are_told_apart() {
        let question = question("health.path = \"/up\"", "[\"www.example.com\"]");
        let judge = |status: u16, location: &str| {
            let mut headers = HeaderMap::new();
            if !location.is_empty() {
                headers.insert(LOCATION, HeaderValue::from_str(location).unwrap());
            }
            let finding = question.judge(
                question.probe.as_ref().unwrap(),
                StatusCode::from_u16(status).unwrap(),
                &headers,
            );
            (finding.is_good(), finding.to_string())
        };
        for (status, location, good, words) in [
            (200, "", true, "200"),
            (204, "", true, "204"),
            (503, "", false, "answered 503 Service Unavailable"),
            (301, "https://app.example/up", true, "301 to https of the same"),
            (308, "https://www.example.com/up?x=1", true, "308 to https of the same"),
            (302, "https://www.example.com/login", false, "302 to https://www.example.com/login"),
            (302, "http://www.example.com/up", false, "302 to http://www.example.com/up"),
            (301, "https://other.example/up", false, "301 to https://other.example/up"),
            (302, "/up", false, "302 to /up"),
            (304, "", false, "answered 304 Not Modified"),
            (200, "https://www.example.com/up", true, "200"),
        ] {
            assert_eq!(judge(status, location), (good, words.to_owned()), "{status} {location}");
        }
    }
}
