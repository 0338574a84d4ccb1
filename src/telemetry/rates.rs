//! Pure: rates and quantiles of the last seconds, and the points of the charts, out of counters that only grow.
//!
//! `readings` gives it the totals of each second, with the time; the demo takes its quantiles here, too. It must never
//! grow without bound, nor show a rate below zero: a pair that went and came back counts from zero again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::series::BOUNDS;
use crate::config::limits::{CHART_LINES, CHART_POINTS, POINT_SECONDS, READING_SECONDS};

/// What was counted in the last ten seconds and, coarser, in the last fifteen minutes.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// When the totals of each track's `seconds` were taken, the newest last.
    seconds: VecDeque<Duration>,
    /// When each point ended, in seconds since 1970, the newest last.
    points: VecDeque<f64>,
    /// How many points there have ever been.
    pointed: u64,
    /// Seconds since the last point.
    since_point: usize,
    tracks: BTreeMap<Pair, Track>,
    /// When each backend was last seen to have answered, on whatever route.
    answered: BTreeMap<String, Duration>,
}

/// A route and a backend.
pub type Pair = (String, String);

impl Rates {
    /// Takes in the totals of all pairs as they were at `now`, a time that never goes back, which is `unix` in seconds
    /// since 1970.
    pub fn push(&mut self, now: Duration, unix: f64, totals: BTreeMap<Pair, Totals>) {
        let is_first = self.seconds.is_empty();
        keep(&mut self.seconds, now, READING_SECONDS + 1);
        self.tracks.retain(|pair, _| totals.contains_key(pair));
        let backends: BTreeSet<&str> = totals.keys().map(|(_, backend)| &**backend).collect();
        self.answered.retain(|backend, _| backends.contains(&**backend));
        for (pair, totals) in totals {
            let track = self.tracks.entry(pair.clone()).or_default();
            if track.push(totals, is_first) {
                self.answered.insert(pair.1, now);
            }
        }
        self.since_point += usize::from(!is_first);
        if self.since_point == POINT_SECONDS {
            self.point(unix);
        }
    }

    /// One backend of one route over the last seconds; nothing where there is no such pair.
    pub fn now(&self, route: &str, backend: &str) -> Option<Reading> {
        let track = self.tracks.get(&(route.to_owned(), backend.to_owned()))?;
        let mut reading = self.over(track, READING_SECONDS);
        let now = self.seconds.back().copied().unwrap_or_default();
        reading.last_answer = self.answered.get(backend).map(|at| now.saturating_sub(*at));
        Some(reading)
    }

    /// How much time [`now`](Self::now) covers.
    pub fn window(&self) -> Duration {
        let (first, last) = (self.seconds.front(), self.seconds.back());
        last.zip(first).map(|(last, first)| last.saturating_sub(*first)).unwrap_or_default()
    }

    /// The points of the charts.
    pub fn chart(&self) -> Chart {
        let line = |((route, backend), track): (&Pair, &Track)| ChartLine {
            route: route.clone(),
            backend: backend.clone(),
            points: std::iter::repeat_n(Point::default(), self.points.len() - track.points.len())
                .chain(track.points.iter().copied())
                .collect(),
        };
        let lines = self.tracks.iter().filter(|(_, track)| !track.points.is_empty()).map(line).collect();
        Chart { at: self.points.iter().copied().collect(), lines }
    }

    /// How many points there have ever been: another number means a new one.
    pub fn pointed(&self) -> u64 {
        self.pointed
    }

    fn point(&mut self, unix: f64) {
        self.since_point = 0;
        self.pointed += 1;
        keep(&mut self.points, unix, CHART_POINTS);
        let readings: Vec<Point> = self
            .tracks
            .values()
            .take(CHART_LINES)
            .map(|track| self.over(track, POINT_SECONDS).point)
            .collect();
        let mut readings = readings.into_iter();
        for track in self.tracks.values_mut() {
            match readings.next() {
                Some(point) => keep(&mut track.points, point, CHART_POINTS),
                // Pairs that came since have pushed it out of the bound.
                None => track.points.clear(),
            }
        }
    }

    /// What a track counted in the last `seconds`, or since it is there.
    fn over(&self, track: &Track, seconds: usize) -> Reading {
        let back = seconds.min(track.seconds.len().saturating_sub(1));
        let (Some(last), Some(first)) = (track.seconds.back(), nth_last(&track.seconds, back)) else {
            return Reading::default();
        };
        let (now, since) = (self.seconds.back(), nth_last(&self.seconds, back));
        let took = now.zip(since).map(|(now, since)| now.saturating_sub(*since)).unwrap_or_default();
        Reading::between(first, last, took)
    }
}

/// What a pair has counted since it is there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that ended with a status of 500 and above.
    pub errors: u64,
    /// How many took how long, by the histogram's bounds, the last for what took longer.
    pub durations: [u64; BOUNDS.len() + 1],
    /// Responses' heads that came.
    pub answers: u64,
    /// Requests that run now.
    pub in_flight: i64,
    /// Tunnels that are open now.
    pub tunnels: i64,
    /// Whether the last connection to the backend stood.
    pub up: bool,
    /// The share of the route's requests, 0 to 1.
    pub weight: f64,
}

impl Totals {
    /// Whether these come after `before`: counts of the same pair only grow.
    fn follow(&self, before: &Self) -> bool {
        let grown = self.durations.iter().zip(&before.durations).all(|(now, then)| now >= then);
        grown
            && self.requests >= before.requests
            && self.errors >= before.errors
            && self.answers >= before.answers
    }
}

/// One backend of one route over the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// Rates, errors and latencies.
    pub point: Point,
    /// Requests that run now.
    pub in_flight: i64,
    /// Tunnels that are open now.
    pub tunnels: i64,
    /// Whether the last connection to the backend stood.
    pub up: bool,
    /// How long ago the backend answered last, on whatever route; nothing where it hasn't since the start.
    pub last_answer: Option<Duration>,
}

impl Reading {
    fn between(first: &Totals, last: &Totals, took: Duration) -> Self {
        let requests = last.requests.saturating_sub(first.requests) as f64;
        let errors = last.errors.saturating_sub(first.errors) as f64;
        let mut below = 0.0;
        let counts = last.durations.iter().zip(&first.durations);
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, f64)> = bounds
            .zip(counts)
            .map(|(bound, (now, then))| {
                below += now.saturating_sub(*then) as f64;
                (bound, below)
            })
            .collect();
        let point = Point {
            requests_per_second: (!took.is_zero()).then(|| requests / took.as_secs_f64()),
            error_ratio: (requests > 0.0).then(|| errors / requests),
            p50: quantile(0.5, &buckets),
            p95: quantile(0.95, &buckets),
            p99: quantile(0.99, &buckets),
            weight: Some(last.weight),
        };
        let Totals { in_flight, tunnels, up, .. } = *last;
        Self { point, in_flight, tunnels, up, last_answer: None }
    }
}

/// Rates, errors and latencies of a stretch of time; nothing where there is nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// Requests that ended, a second.
    pub requests_per_second: Option<f64>,
    /// The share of them that ended with a status of 500 and above, 0 to 1.
    pub error_ratio: Option<f64>,
    /// What half of them took at most, in seconds.
    pub p50: Option<f64>,
    /// What 95 of 100 took at most.
    pub p95: Option<f64>,
    /// What 99 of 100 took at most.
    pub p99: Option<f64>,
    /// The share of the route's requests at its end, 0 to 1.
    pub weight: Option<f64>,
}

/// The points of the last fifteen minutes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chart {
    /// When each ended, in seconds since 1970; the oldest first.
    pub at: Vec<f64>,
    /// By route and backend.
    pub lines: Vec<ChartLine>,
}

/// The points of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartLine {
    /// The route.
    pub route: String,
    /// The backend.
    pub backend: String,
    /// As many as there are times.
    pub points: Vec<Point>,
}

/// As Prometheus's `histogram_quantile`: even within a bucket; the highest bound for what is above it. `buckets` are
/// upper bounds with how many were not above them.
pub fn quantile(q: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = q * total;
    let at = buckets.iter().position(|(_, below)| *below >= rank)?;
    let (floor, under) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (bound, below) = buckets[at];
    if bound.is_infinite() {
        return Some(floor);
    }
    Some(floor + (bound - floor) * (rank - under) / (below - under))
}

/// One pair through time.
#[derive(Debug, Clone, Default)]
struct Track {
    /// As many as there are times of seconds, or fewer where it came later.
    seconds: VecDeque<Totals>,
    /// As many as there are times of points, or fewer where it came later.
    points: VecDeque<Point>,
}

impl Track {
    /// Takes the next totals; whether the backend has answered since the last.
    fn push(&mut self, totals: Totals, is_first: bool) -> bool {
        if self.seconds.back().is_some_and(|before| !totals.follow(before)) {
            self.seconds.clear();
        }
        // What wasn't there a second ago has counted from zero since.
        if self.seconds.is_empty() && !is_first {
            self.seconds.push_back(Totals::default());
        }
        let before = self.seconds.back().map_or(0, |before| before.answers);
        let has_answered = totals.answers > before;
        keep(&mut self.seconds, totals, READING_SECONDS + 1);
        has_answered
    }
}

/// Adds to the end, and lets go at the front what is above `most`.
fn keep<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    queue.push_back(item);
    while queue.len() > most {
        queue.pop_front();
    }
}

fn nth_last<T>(queue: &VecDeque<T>, back: usize) -> Option<&T> {
    queue.len().checked_sub(back + 1).and_then(|place| queue.get(place))
}

#[cfg(test)]
#[path = "rates_tests.rs"]
mod tests;
