//! What the admin API tells, beside what `control` has types for: status, series, difference, configuration.
//!
//! `admin` fills them in, the command line and the dashboard read them. A field that is added is no break; one that
//! goes or changes its meaning is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::model::Mode;
use crate::control::record::{Change, Record, RouteState};
use crate::control::status::EndpointState;

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The revision that is live.
    pub revision: u64,
    /// When this was told, as RFC 3339 says it.
    pub at: String,
    /// When the process started.
    pub started: String,
    /// The process finishes what is in flight, and ends.
    pub draining: bool,
    /// Every problem of the configuration that was refused last; the one before it serves on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_refused: Option<String>,
    /// Why changes would be lost by a restart, if they would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_trouble: Option<String>,
    /// Rates, errors and latencies below are of the last so many seconds.
    pub window_seconds: f64,
    /// In the order of the file.
    pub routes: Vec<RouteStatus>,
    /// The last ten revisions, the newest first.
    pub history: Vec<Record>,
}

/// One route as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// Its host patterns; empty means any.
    pub hosts: Vec<String>,
    /// The begin of its paths.
    pub path: String,
    /// What it does with requests.
    pub mode: Mode,
    /// The backend that rollback returns to.
    pub stable: String,
    /// Rolled back: everything goes to stable, pins and sticky visitors too.
    pub rolled_back: bool,
    /// Whether commands have changed what the file says.
    pub overridden: bool,
    /// Stable first, then by name.
    pub backends: Vec<BackendStatus>,
}

/// One backend of one route as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub urls: Vec<String>,
    /// Its share of the route's requests, in percent.
    pub weight: f64,
    /// What the file says of it, in percent.
    pub file_weight: f64,
    /// Whether an endpoint of it is fit for requests.
    pub up: bool,
    /// Where its requests go, by route; left out while it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// Its endpoints, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointStatus>,
    /// How long ago it answered last, in seconds; left out where it hasn't since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer_seconds: Option<f64>,
    /// Requests that ended, a second.
    pub requests_per_second: f64,
    /// The share of them that ended with a status of 500 and above, 0 to 1; left out without requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_ratio: Option<f64>,
    /// What half of them took at most, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// What 95 of 100 took at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// What 99 of 100 took at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// Requests that run now.
    pub in_flight: i64,
    /// Tunnels (WebSockets) that are open now.
    pub tunnels: i64,
}

/// One endpoint of one backend as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointStatus {
    /// Where it is.
    pub url: String,
    /// Whether it gets requests, and what keeps them away.
    pub state: EndpointState,
    /// Since when, as RFC 3339 says it; left out where it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why; left out where it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What its last probe found; left out where it isn't probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<String>,
}

/// `GET /api/v1/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The newest first, 1000 at the most.
    pub revisions: Vec<Record>,
}

/// `GET /api/v1/diff`: what commands have changed on top of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Diff {
    /// The revision that is live.
    pub revision: u64,
    /// From the file to what is live, route by route. Empty: the file says it all.
    pub changes: Vec<Change>,
}

/// `GET /api/v1/config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigText {
    /// The revision that is live.
    pub revision: u64,
    /// The path of the file; left out for a start without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The text of the file that serves, with the overrides folded in; left out for a start without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What can be changed, as it is live, by the names of the routes.
    pub routes: std::collections::BTreeMap<String, RouteState>,
}

/// `GET /api/v1/series`: the last fifteen minutes, for charts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// The seconds between two points.
    pub step_seconds: u64,
    /// When each point ends, in seconds since 1970; the oldest first, 180 at the most.
    pub at: Vec<f64>,
    /// One for each backend of each route.
    pub lines: Vec<Line>,
}

/// The points of one backend of one route: as many in each list as in `at`; null where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// The route.
    pub route: String,
    /// The backend.
    pub backend: String,
    /// Requests a second.
    pub requests_per_second: Vec<Option<f64>>,
    /// The share of them that ended with a status of 500 and above, 0 to 1.
    pub error_ratio: Vec<Option<f64>>,
    /// Seconds.
    pub p50: Vec<Option<f64>>,
    /// Seconds.
    pub p95: Vec<Option<f64>>,
    /// Seconds.
    pub p99: Vec<Option<f64>>,
    /// Percent.
    pub weight: Vec<Option<f64>>,
}

/// `event: sample` of `GET /api/v1/events`: the newest point of the series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// When it ends, in seconds since 1970.
    pub at: f64,
    /// One for each backend of each route.
    pub lines: Vec<SampleLine>,
}

/// The newest point of one backend of one route; null where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SampleLine {
    /// The route.
    pub route: String,
    /// The backend.
    pub backend: String,
    /// Requests a second.
    pub requests_per_second: Option<f64>,
    /// The share of them that ended with a status of 500 and above, 0 to 1.
    pub error_ratio: Option<f64>,
    /// Seconds.
    pub p50: Option<f64>,
    /// Seconds.
    pub p95: Option<f64>,
    /// Seconds.
    pub p99: Option<f64>,
    /// Percent.
    pub weight: Option<f64>,
}
