//! `[backends.NAME]`: where each platform's copy of the app is, and whose rules it follows.
//!
//! `lower` calls it; routes look names up in [`BackendNames`]. It must never resolve a name or open a
//! `ca_file`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::config::address;
use crate::config::file::{Section, Text, Value};
use crate::config::kinds;
use crate::config::limits;
use crate::config::lower::bounds::{capacity, waiting};
use crate::config::lower::health;
use crate::config::model::{
    Backend, BackendIndex, BackendTimeouts, EndpointUrl, HostPolicy, Http2, Name, Platform, Scheme,
};
use crate::config::problem::{Fault, Notes, Span, escaped, quoted};
use crate::config::suggest;

const SECTION_FORM: &str = "write a section for each backend: [backends.heroku]";
const URL_FORM: &str = "write where it is: url = \"https://app.example\"";
const URLS_FORM: &str = "write a list of its addresses: urls = [\"https://app.example\"]";
const HOST_FORM: &str = "write \"backend\", \"preserve\" or a host name";
const CA_FORM: &str = "write the path of a PEM file: ca_file = \"/etc/ssl/internal-ca.pem\"";
/// What a backend or route may be called.
pub(super) const NAME_FORM: &str = "write 1 to 63 of a-z, A-Z, 0-9, `_`, `.` and `-`, not dots alone";

/// Every backend in the order of names, and the names as routes look them up.
pub(in crate::config) fn read<'d>(
    file: &mut Section<'d>,
    listeners: &[SocketAddr],
    notes: &mut Notes<'_>,
) -> (Vec<Backend>, BackendNames<'d>) {
    let section = file.section("backends", notes);
    let mut names = BackendNames::default();
    let mut backends = Vec::new();
    for (at, value) in section.entries() {
        names.names.push((value.key, at.clone()));
        let table = value.table(notes, SECTION_FORM);
        let called = format!("[backends.{}]", escaped(value.key));
        let entry = table.map(|table| Section::new(called, at.clone(), Some(table)));
        let name = name(value.key, &at, notes);
        backends.extend(entry.and_then(|entry| backend(entry, name, listeners, notes)));
    }
    if names.names.is_empty() {
        let message = "there is no backend: nothing could answer a request";
        notes.absent(&section.at, Fault::new(message, SECTION_FORM));
    }
    (backends, names)
}

/// The names of all backends, also of those with problems, and which of them routes use.
#[derive(Default)]
pub(in crate::config) struct BackendNames<'d> {
    /// In their order, as the model's.
    names: Vec<(&'d str, Span)>,
    used: BTreeSet<usize>,
}

impl BackendNames<'_> {
    /// The backend of a name that stands at `at`, which is used by it.
    pub(in crate::config) fn find(
        &mut self,
        name: &str,
        at: &Span,
        notes: &mut Notes<'_>,
    ) -> Option<BackendIndex> {
        let known = self.names.iter().map(|(name, _)| *name);
        let Some(index) = known.clone().position(|known| known == name) else {
            let message = format!("there is no backend {}", quoted(name));
            notes.absent(at, Fault::new(message, suggest::remedy(name, known)));
            return None;
        };
        self.used.insert(index);
        Some(BackendIndex(index))
    }

    /// Warns of the backends that no route uses.
    pub(in crate::config) fn finish(self, notes: &mut Notes<'_>) {
        let unused = self.names.iter().enumerate().filter(|(index, _)| !self.used.contains(index));
        for (_, (name, at)) in unused {
            let message = format!("no route uses the backend {}", quoted(name));
            notes.warn(
                at,
                Fault::new(message, "name it in a route's `weights`, with 0 for now, or remove it"),
            );
        }
    }
}

/// The waits of a backend that says nothing about them.
pub(in crate::config) fn timeouts_of(platform: Platform) -> BackendTimeouts {
    let first_byte = match platform {
        Platform::Heroku => limits::FIRST_BYTE_HEROKU,
        Platform::Generic | Platform::Fly | Platform::Alb => limits::FIRST_BYTE,
    };
    BackendTimeouts { connect: limits::CONNECT, first_byte, pool_idle: limits::POOL_IDLE }
}

/// The platform that a host name belongs to by its own domain.
pub(in crate::config) fn of_host(host: &str) -> Platform {
    let domains = [
        (".herokuapp.com", Platform::Heroku),
        (".herokudns.com", Platform::Heroku),
        (".fly.dev", Platform::Fly),
        (".elb.amazonaws.com", Platform::Alb),
    ];
    let known = domains.iter().find(|(domain, _)| host.ends_with(domain));
    known.map_or(Platform::Generic, |&(_, platform)| platform)
}

/// A name as the model has it. Metrics call `none` the route and backend of requests that were refused before they
/// had one.
pub(super) fn name(text: &str, at: &Span, notes: &mut Notes<'_>) -> Option<Name> {
    if text == "none" {
        let taken = Fault::new("`none` is what metrics call a request without one", "take another name");
        return notes.accept(at, Err(taken));
    }
    let fault = || Fault::new(format!("{} can't be a name", quoted(text)), NAME_FORM);
    notes.accept(at, Name::parse(text).ok_or_else(fault))
}

fn backend(
    mut section: Section<'_>,
    name: Option<Name>,
    listeners: &[SocketAddr],
    notes: &mut Notes<'_>,
) -> Option<Backend> {
    let endpoints = endpoints(&mut section, listeners, notes);
    let platforms = [
        ("generic", Platform::Generic),
        ("heroku", Platform::Heroku),
        ("fly", Platform::Fly),
        ("alb", Platform::Alb),
    ];
    let platform = section.read("platform", notes, kinds::one_of(platforms)).unwrap_or_default();
    let host = section.read("host", notes, host).unwrap_or(HostPolicy::Backend);
    let ca_file = section.read("ca_file", notes, kinds::parsed(CA_FORM, path));
    let words = [("auto", Http2::Auto), ("always", Http2::Always), ("never", Http2::Never)];
    let http2 = section.read("http2", notes, kinds::one_of(words)).unwrap_or_default();
    let timeouts = timeouts(&mut section, platform, notes);
    let capacity = capacity(&mut section, notes);
    let health = health::read(&mut section, notes);
    doubts(&section, platform, &host, &endpoints, notes);
    if http2 == Http2::Auto && endpoints.first().is_some_and(|url| url.scheme() == Scheme::Http) {
        let message = "without TLS nothing is chosen: `http2 = \"auto\"` means HTTP/1.1 here";
        let remedy = "write \"always\" where the backend takes HTTP/2 with prior knowledge, or leave it out";
        notes.warn(&section.at_of("http2"), Fault::new(message, remedy));
    }
    section.finish(notes);
    let endpoints = Some(endpoints).filter(|endpoints| !endpoints.is_empty())?;
    Some(Backend { name: name?, endpoints, platform, host, ca_file, http2, timeouts, capacity, health })
}

/// The endpoints of `url` or `urls`; none where there is a problem with all of them.
fn endpoints(section: &mut Section<'_>, listeners: &[SocketAddr], notes: &mut Notes<'_>) -> Vec<EndpointUrl> {
    let texts = match (section.take("url"), section.take("urls")) {
        (Some(url), None) => url.text(notes, URL_FORM).into_iter().collect(),
        (None, Some(urls)) => several(&urls, notes),
        (None, None) => {
            notes.absent(&section.at, Fault::new(format!("`url` is missing in {}", section.name), URL_FORM));
            Vec::new()
        }
        (Some(_), Some(urls)) => {
            let message = format!("{} has both `url` and `urls`", section.name);
            notes.wrong(&urls.at, Fault::new(message, "keep one: `urls` is a list, `url` a single one"));
            Vec::new()
        }
    };
    let mut endpoints: Vec<EndpointUrl> = Vec::with_capacity(texts.len());
    for text in &texts {
        endpoints.extend(endpoint(text, &endpoints, listeners, notes));
    }
    endpoints
}

fn several(urls: &Value<'_>, notes: &mut Notes<'_>) -> Vec<Text> {
    if urls.is_empty_list() {
        notes.wrong(&urls.at, Fault::new("`urls` names no address", URLS_FORM));
    }
    let items = urls.items(notes, URLS_FORM);
    items.iter().filter_map(|item| item.text(notes, URLS_FORM)).collect()
}

/// One endpoint that fits with those before it.
fn endpoint(
    text: &Text,
    before: &[EndpointUrl],
    listeners: &[SocketAddr],
    notes: &mut Notes<'_>,
) -> Option<EndpointUrl> {
    let url = notes.accept(&text.at, address::endpoint(&text.text))?;
    let fault = if before.contains(&url) {
        Fault::new("this address stands twice in one backend", "keep one of them")
    } else if before.first().is_some_and(|first| first.scheme() != url.scheme()) {
        let remedy = "write all of them with https://, or all with http://";
        Fault::new("the addresses of one backend mix http and https", remedy)
    } else if let Some(listener) = listeners.iter().find(|listener| is_ourselves(&url, listener)) {
        let message =
            format!("this is the proxy's own address, {listener}: requests would never reach the app");
        Fault::new(message, "write the app's address, or listen elsewhere")
    } else {
        return Some(url);
    };
    notes.wrong(&text.at, fault);
    None
}

/// Whether what is sent to an endpoint arrives at a listener of ours, as far as the file alone tells. The unspecified
/// address (0.0.0.0, `[::]`) leads to this machine, as `localhost` does.
pub(in crate::config) fn is_ourselves(url: &EndpointUrl, listener: &SocketAddr) -> bool {
    let EndpointUrl::Network { host, port, .. } = url else { return false };
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    let listens = listener.ip().to_canonical();
    let here = host == "localhost" || address.is_some_and(|address| address.is_unspecified());
    let loopback = here || address.is_some_and(|address| address.is_loopback());
    let same = address == Some(listens) || (here && listens.is_loopback());
    *port == listener.port() && (same || (loopback && listens.is_unspecified()))
}

fn host(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<HostPolicy> {
    let text = value.text(notes, HOST_FORM)?;
    match text.text.as_str() {
        "backend" => Some(HostPolicy::Backend),
        "preserve" => Some(HostPolicy::Preserve),
        name => fixed(name, &text.at, notes).map(HostPolicy::Fixed),
    }
}

/// A `Host` of its own. Services are called `backend1` or `back-end`, so that only another case of one of the words
/// can't be a name.
fn fixed(name: &str, at: &Span, notes: &mut Notes<'_>) -> Option<String> {
    let Some(near) = suggest::nearest(name, ["backend", "preserve"]) else {
        return notes.accept(at, address::host_header(name));
    };
    let remedy = format!("did you mean \"{near}\"? {HOST_FORM}");
    if near.eq_ignore_ascii_case(name) {
        notes.wrong(at, Fault::new(format!("`host` can't be {}", quoted(name)), remedy));
        return None;
    }
    let host = notes.accept(at, address::host_header(name))?;
    notes.warn(at, Fault::new(format!("{} is sent as the host's name", quoted(name)), remedy));
    Some(host)
}

fn path(text: &str) -> Result<PathBuf, Fault> {
    if text.is_empty() {
        return Err(Fault::new("`ca_file` is empty", CA_FORM));
    }
    // It is shown where the file can't be read.
    if text.contains(char::is_control) {
        return Err(Fault::new(format!("`ca_file` can't be {}", quoted(text)), CA_FORM));
    }
    Ok(PathBuf::from(text))
}

fn timeouts(section: &mut Section<'_>, platform: Platform, notes: &mut Notes<'_>) -> BackendTimeouts {
    let default = timeouts_of(platform);
    let connect = waiting(section, "connect_timeout", notes);
    let first_byte = waiting(section, "first_byte_timeout", notes);
    let pool_idle = waiting(section, "pool_idle_timeout", notes);
    let loses = match platform {
        Platform::Generic => false,
        Platform::Heroku | Platform::Fly | Platform::Alb => {
            pool_idle.is_some_and(|idle| idle >= limits::PLATFORM_IDLE)
        }
    };
    if loses {
        let remedy = "stay below, so that it is us who close: \"50s\"";
        let message =
            "the platform itself closes idle connections at 60 s, and would close ours under a request";
        notes.warn(&section.at_of("pool_idle_timeout"), Fault::new(message, remedy));
    }
    BackendTimeouts {
        connect: connect.unwrap_or(default.connect),
        first_byte: first_byte.unwrap_or(default.first_byte),
        pool_idle: pool_idle.unwrap_or(default.pool_idle),
    }
}

/// Settings that work, but hardly as they were meant.
fn doubts(
    section: &Section<'_>,
    platform: Platform,
    host: &HostPolicy,
    endpoints: &[EndpointUrl],
    notes: &mut Notes<'_>,
) {
    let by_host = match platform {
        Platform::Heroku => Some("Heroku"),
        Platform::Fly => Some("Fly.io"),
        Platform::Generic | Platform::Alb => None,
    };
    let in_clear = endpoints.first().is_some_and(|url| url.scheme() == Scheme::Http);
    if let Some(platform) = by_host.filter(|_| *host == HostPolicy::Preserve) {
        let message =
            format!("{platform} routes by `Host`: it must know every public name as a custom domain");
        let remedy =
            "register them there, or write host = \"backend\"; the app gets X-Forwarded-Host either way";
        notes.warn(&section.at_of("host"), Fault::new(message, remedy));
    }
    if let Some(platform) = by_host.filter(|_| in_clear && !endpoints.iter().any(is_near)) {
        let message = format!("over http the app behind {platform} believes that visitors came without TLS");
        notes.warn(&section.at_of("url"), Fault::new(message, "write the URL with https://"));
    }
    if in_clear && section.has("ca_file") {
        let message = "`ca_file` is without effect: this backend is reached by http, without TLS";
        notes.warn(
            &section.at_of("ca_file"),
            Fault::new(message, "write its URL with https://, or leave it out"),
        );
    }
}

/// Whether an endpoint is a stand-in for a platform, for trying out or for tests.
fn is_near(url: &EndpointUrl) -> bool {
    url.host().is_none_or(|host| host == "localhost" || host.parse::<IpAddr>().is_ok())
}
