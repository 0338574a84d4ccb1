//! What there is to know of a backend, a route and the proxy, in words: the same in `status` and in its live view.
//!
//! It must never leave to colour what matters: alarms have words of their own.

use crate::admin::types::{BackendStatus, RouteStatus, Status};
use crate::cli::figures::{between, grouped, latency, percent, plain, rate, span};
use crate::config::model::Mode;
use crate::control::status::EndpointState;

/// Errors from here on are an alarm.
const ALARM: f64 = 0.01;

/// How many endpoints without requests are named.
const ENDPOINTS: usize = 5;

/// One figure of one backend.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    /// What is measured.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) text: String,
    /// Something isn't well.
    pub(super) alarm: bool,
}

/// What is known of a backend, but for its weight.
pub(super) fn facts(backend: &BackendStatus) -> [Fact; 7] {
    let fine = |name, text| Fact { name, text, alarm: false };
    let measured = |value: Option<f64>| value.map_or("-".to_owned(), latency);
    let bad = backend.error_ratio.is_some_and(|ratio| ratio >= ALARM);
    let errors = match backend.error_ratio {
        Some(ratio) if bad => format!("{} !", percent(ratio * 100.0)),
        Some(ratio) => percent(ratio * 100.0),
        None => "-".to_owned(),
    };
    [
        Fact { name: "health", text: health(backend), alarm: !backend.up || some_are_out(backend) },
        fine("requests/s", rate(backend.requests_per_second)),
        Fact { name: "errors", text: errors, alarm: bad },
        fine("p50", measured(backend.p50)),
        fine("p95", measured(backend.p95)),
        fine("p99", measured(backend.p99)),
        fine("in flight", flight(backend)),
    ]
}

/// Its share, and the file's where that is another.
pub(super) fn weight(backend: &BackendStatus) -> String {
    match (backend.weight - backend.file_weight).abs() < 0.005 {
        true => percent(backend.weight),
        false => format!("{} (file {})", percent(backend.weight), percent(backend.file_weight)),
    }
}

/// What is said of a route beside its name: where it is, and what isn't as it usually is.
pub(super) fn place(route: &RouteStatus) -> String {
    let hosts = if route.hosts.is_empty() { "any host".to_owned() } else { route.hosts.join(", ") };
    plain(&format!("{hosts} {}", route.path))
}

/// What of a route isn't as it usually is.
pub(super) fn marks(route: &RouteStatus) -> Vec<&'static str> {
    let mut marks = Vec::new();
    if route.mode == Mode::Maintenance {
        marks.push("MAINTENANCE");
    }
    if route.rolled_back {
        marks.push("ROLLED BACK");
    }
    if route.overridden {
        marks.push("differs from the file");
    }
    marks
}

/// What the driver must know before anything else.
pub(super) fn warnings(status: &Status) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.draining {
        warnings.push("draining: what is in flight is finished, then the proxy ends".to_owned());
    }
    if let Some(report) = &status.config_refused {
        let first = report.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
        let first = first.strip_prefix("error: ").unwrap_or(first);
        warnings.push(format!(
            "the configuration file is refused (`crossfade check` says why), the one before it serves on: {}",
            plain(first)
        ));
    }
    if let Some(trouble) = &status.state_trouble {
        warnings.push(format!("changes would be lost by a restart: {}", plain(trouble)));
    }
    let out = out_of_use(status);
    let more = out.len().saturating_sub(ENDPOINTS);
    warnings.extend(out.into_iter().take(ENDPOINTS));
    if more > 0 {
        warnings.push(format!("and {more} more: `crossfade status --json` has them all"));
    }
    warnings
}

/// The backends and endpoints that get no requests, each once, whatever routes they serve.
fn out_of_use(status: &Status) -> Vec<String> {
    let mut out = Vec::new();
    let mut say = |text: String| {
        if !out.contains(&text) {
            out.push(text);
        }
    };
    let backends = || status.routes.iter().flat_map(|route| &route.backends);
    for (backend, instead) in backends().filter_map(|backend| Some((backend, backend.instead.as_ref()?))) {
        say(format!("{} is DOWN; {}", plain(&backend.name), plain(instead)));
    }
    for backend in backends() {
        for endpoint in backend.endpoints.iter().filter(|endpoint| endpoint.state != EndpointState::Up) {
            let since = endpoint.since.as_deref().and_then(|since| between(since, &status.at));
            let lasts = since.map_or_else(String::new, |seconds| format!(" for {}", span(seconds)));
            let (name, url, state) = (plain(&backend.name), plain(&endpoint.url), endpoint.state.as_str());
            let why = plain(endpoint.why.as_deref().unwrap_or_default());
            say(format!("{name}: {url} is {state}{lasts}: {why}"));
        }
    }
    out
}

/// How long it has served.
pub(super) fn uptime(status: &Status) -> String {
    between(&status.started, &status.at).map_or_else(String::new, |seconds| format!("up {}", span(seconds)))
}

fn health(backend: &BackendStatus) -> String {
    let usable = backend.endpoints.iter().filter(|endpoint| endpoint.state == EndpointState::Up).count();
    let state = match backend.up {
        true if usable < backend.endpoints.len() => format!("{usable} of {} up", backend.endpoints.len()),
        true => "up".to_owned(),
        false => "DOWN".to_owned(),
    };
    match backend.last_answer_seconds {
        Some(seconds) => format!("{state}, answered {} ago", span(seconds)),
        None => format!("{state}, no answer yet"),
    }
}

fn some_are_out(backend: &BackendStatus) -> bool {
    backend.endpoints.iter().any(|endpoint| endpoint.state != EndpointState::Up)
}

fn flight(backend: &BackendStatus) -> String {
    match backend.tunnels {
        0 => grouped(backend.in_flight),
        1 => format!("{} and 1 tunnel", grouped(backend.in_flight)),
        tunnels => format!("{} and {} tunnels", grouped(backend.in_flight), grouped(tunnels)),
    }
}
