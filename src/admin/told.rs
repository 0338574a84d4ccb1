//! What the API tells, out of the Controller's status and the readings.
//!
//! `api` and `events` call it for each answer. It must never keep anything, nor show a digit that nobody measured.

use std::sync::Arc;

use super::types::{
    BackendStatus, ConfigText, Diff, EndpointStatus, History, Line, RouteStatus, Sample, SampleLine, Series,
    Status,
};
use crate::config::export::{Exported, export};
use crate::config::limits::{HISTORY_SHOWN, POINT_SECONDS};
use crate::control::record::{Change, Record};
use crate::control::status::{BackendShown, EndpointShown, EndpointState, RouteShown, Status as Control};
use crate::telemetry::rates::{Chart, ChartLine, Point};
use crate::telemetry::readings::Readings;

/// What never changes of a process.
#[derive(Debug)]
pub(super) struct Process {
    /// The program's version.
    pub(super) version: String,
    /// When it started.
    pub(super) started: String,
}

/// A moment as RFC 3339 says it, to the millisecond.
pub(super) fn moment(at: jiff::Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at).to_string()
}

/// `GET /api/v1/status`.
pub(super) fn status(process: &Process, control: &Control, readings: &Readings) -> Status {
    Status {
        version: process.version.clone(),
        revision: control.revision,
        at: moment(jiff::Timestamp::now()),
        started: process.started.clone(),
        draining: control.draining,
        config_refused: control.refused.clone(),
        state_trouble: control.state_trouble.clone(),
        window_seconds: rounded(readings.window().as_secs_f64()),
        routes: control.routes.iter().map(|route| route_status(route, control, readings)).collect(),
        history: newest(control, HISTORY_SHOWN),
    }
}

/// `GET /api/v1/history`.
pub(super) fn history(control: &Control, limit: usize) -> History {
    History { revisions: newest(control, limit) }
}

/// `GET /api/v1/diff`.
pub(super) fn diff(control: &Control) -> Diff {
    let changed = control.routes.iter().filter(|route| route.live != route.file);
    let change = |route: &RouteShown| Change {
        route: route.name.clone(),
        from: Some(route.file.clone()),
        to: Some(route.live.clone()),
    };
    Diff { revision: control.revision, changes: changed.map(change).collect() }
}

/// `GET /api/v1/config`.
pub(super) fn config(control: &Control) -> ConfigText {
    let file = control.file.as_ref();
    ConfigText {
        revision: control.revision,
        file: file.map(|file| file.path.display().to_string()),
        text: file.map(|file| exported(&file.text, &control.routes)),
        routes: control.routes.iter().map(|route| (route.name.clone(), route.live.clone())).collect(),
    }
}

/// `GET /api/v1/series`.
pub(super) fn series(readings: &Readings) -> Series {
    let Chart { at, lines } = readings.chart();
    Series {
        step_seconds: POINT_SECONDS as u64,
        at: at.into_iter().map(to_the_millisecond).collect(),
        lines: lines.into_iter().map(line).collect(),
    }
}

/// The newest point of the series; nothing before there is one.
pub(super) fn sample(readings: &Readings) -> Option<Sample> {
    let Chart { at, lines } = readings.chart();
    let lines = lines.into_iter().filter_map(|ChartLine { route, backend, points }| {
        let Point { requests_per_second, error_ratio, p50, p95, p99, weight } = shown(*points.last()?);
        Some(SampleLine { route, backend, requests_per_second, error_ratio, p50, p95, p99, weight })
    });
    Some(Sample { at: to_the_millisecond(*at.last()?), lines: lines.collect() })
}

/// The records above a revision, the oldest first.
pub(super) fn above(control: &Control, revision: u64) -> Vec<Arc<Record>> {
    control.history.iter().filter(|record| record.revision > revision).map(Arc::clone).collect()
}

/// The text of the file with what is live folded in.
fn exported(text: &str, routes: &[RouteShown]) -> String {
    let state = |route: &RouteShown| {
        let exported = Exported { weights: route.live.weights.clone(), mode: route.live.mode };
        (route.name.clone(), exported)
    };
    export(text, &routes.iter().map(state).collect(), &|name| std::env::var(name).ok())
}

fn newest(control: &Control, most: usize) -> Vec<Record> {
    control.history.iter().rev().take(most).map(|record| Record::clone(record)).collect()
}

fn route_status(route: &RouteShown, control: &Control, readings: &Readings) -> RouteStatus {
    let stable_first = |backend: &&BackendShown| (backend.name != route.stable, backend.name.clone());
    let mut backends: Vec<&BackendShown> = route.backends.iter().collect();
    backends.sort_by_key(stable_first);
    RouteStatus {
        name: route.name.clone(),
        hosts: route.hosts.clone(),
        path: route.path.clone(),
        mode: route.live.mode,
        stable: route.stable.clone(),
        rolled_back: route.live.rolled_back,
        overridden: route.live != route.file,
        backends: backends
            .into_iter()
            .map(|backend| backend_status(route, backend, control, readings))
            .collect(),
    }
}

fn backend_status(
    route: &RouteShown,
    backend: &BackendShown,
    control: &Control,
    readings: &Readings,
) -> BackendStatus {
    let health = control.health.get(&backend.name);
    let endpoints = health.map_or(&[][..], |health| &health.endpoints);
    let reading = readings.now(&route.name, &backend.name);
    let point = shown(reading.point);
    let weight = |weights: &std::collections::BTreeMap<String, f64>| {
        weights.get(&backend.name).copied().unwrap_or_default()
    };
    BackendStatus {
        name: backend.name.clone(),
        urls: backend.urls.clone(),
        weight: weight(&route.live.weights),
        file_weight: weight(&route.file.weights),
        // What is read once a second may be older than what is said of the endpoints.
        up: match endpoints {
            [] => reading.up,
            _ => endpoints.iter().any(|endpoint| endpoint.state == EndpointState::Up),
        },
        instead: health.and_then(|health| health.instead.clone()),
        endpoints: endpoints.iter().map(endpoint_status).collect(),
        last_answer_seconds: reading.last_answer.map(|ago| rounded(ago.as_secs_f64())),
        requests_per_second: point.requests_per_second.unwrap_or_default(),
        error_ratio: point.error_ratio,
        p50: point.p50,
        p95: point.p95,
        p99: point.p99,
        in_flight: reading.in_flight,
        tunnels: reading.tunnels,
    }
}

fn endpoint_status(endpoint: &EndpointShown) -> EndpointStatus {
    EndpointStatus {
        url: endpoint.url.clone(),
        state: endpoint.state,
        since: endpoint.since.map(moment),
        why: endpoint.why.clone(),
        last_probe: endpoint.probe.clone(),
    }
}

fn line(ChartLine { route, backend, points }: ChartLine) -> Line {
    let points: Vec<Point> = points.into_iter().map(shown).collect();
    let all = |of: fn(&Point) -> Option<f64>| points.iter().map(of).collect();
    Line {
        route,
        backend,
        requests_per_second: all(|point| point.requests_per_second),
        error_ratio: all(|point| point.error_ratio),
        p50: all(|point| point.p50),
        p95: all(|point| point.p95),
        p99: all(|point| point.p99),
        weight: all(|point| point.weight),
    }
}

/// A point in the API's units, with the digits that say something.
fn shown(point: Point) -> Point {
    Point {
        requests_per_second: point.requests_per_second.map(rounded),
        error_ratio: point.error_ratio.map(rounded),
        p50: point.p50.map(rounded),
        p95: point.p95.map(rounded),
        p99: point.p99.map(rounded),
        weight: point.weight.map(|ratio| rounded(ratio * 100.0)),
    }
}

/// To a millionth.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn to_the_millisecond(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}
