//! The counts of one route and backend, as a worker makes them: atomics, and nothing else.
//!
//! A worker asks [`Metrics::series`](super::metrics::Metrics::series) once per snapshot and counts here.
//! Counting must never look up a label, take a lock or allocate once a status class has been seen; hence a
//! table by method and code instead of a map. Each [`Series`] has counts of its own, so that workers don't
//! pass a cache line between them; `pairs` sums them up when somebody looks.

use std::array;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;

use super::rates::Totals;

/// Counts of one (route, backend). Clones count into the same place.
#[derive(Debug, Clone)]
pub struct Series {
    pub(super) shard: Arc<Shard>,
}

impl Series {
    /// One exchange has ended with `status` towards the visitor.
    pub fn request(&self, method: MethodLabel, status: u16) {
        self.shard.requests[method as usize].cell(status).fetch_add(1, Relaxed);
    }

    /// It took this long, from the request's whole head to the response's last byte.
    pub fn duration(&self, took: Duration) {
        self.shard.duration.observe(took);
    }

    /// The backend's head came this long after the request's.
    pub fn first_byte(&self, took: Duration) {
        self.shard.first_byte.observe(took);
    }

    /// One more exchange is in flight, until the guard is dropped.
    pub fn in_flight(&self) -> InFlight {
        InFlight::new(&self.shard, Gauge::InFlight)
    }

    /// One more tunnel (WebSocket, CONNECT) is open, until the guard is dropped.
    pub fn tunnel(&self) -> InFlight {
        InFlight::new(&self.shard, Gauge::Tunnels)
    }

    /// Bytes of request bodies that came in from visitors.
    pub fn bytes_in(&self, count: u64) {
        self.shard.bytes_in.fetch_add(count, Relaxed);
    }

    /// Bytes of response bodies that went out to visitors.
    pub fn bytes_out(&self, count: u64) {
        self.shard.bytes_out.fetch_add(count, Relaxed);
    }

    /// An attempt failed. A reason that isn't among [`Reasons::failures`] counts as `other`.
    pub fn failure(&self, reason: &'static str) {
        self.shard.failures.count(reason);
    }

    /// A further attempt began because of this. A reason that isn't among [`Reasons::retries`] counts as
    /// `other`.
    pub fn retry(&self, reason: &'static str) {
        self.shard.retries.count(reason);
    }
}

/// Something that is open as long as this lives.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub struct InFlight {
    shard: Arc<Shard>,
    gauge: Gauge,
}

impl InFlight {
    fn new(shard: &Arc<Shard>, gauge: Gauge) -> Self {
        shard.open[gauge as usize].fetch_add(1, Relaxed);
        Self { shard: Arc::clone(shard), gauge }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shard.open[self.gauge as usize].fetch_sub(1, Relaxed);
    }
}

/// The methods that have a label of their own, and the rest: labels never come from a visitor's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the methods")]
pub enum MethodLabel {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
    Connect,
    Trace,
    Other,
}

impl MethodLabel {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Patch,
        Self::Options,
        Self::Connect,
        Self::Trace,
        Self::Other,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Connect => "CONNECT",
            Self::Trace => "TRACE",
            Self::Other => "OTHER",
        }
    }
}

impl From<&Method> for MethodLabel {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::DELETE => Self::Delete,
            Method::PATCH => Self::Patch,
            Method::OPTIONS => Self::Options,
            Method::CONNECT => Self::Connect,
            Method::TRACE => Self::Trace,
            _ => Self::Other,
        }
    }
}

/// Every reason that may ever be counted. What isn't among them counts as `other`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reasons {
    /// Why an attempt failed.
    pub failures: &'static [&'static str],
    /// Why a further attempt began.
    pub retries: &'static [&'static str],
    /// Why a request was refused for what the visitor sent.
    pub rejections: &'static [&'static str],
}

/// One worker's counts of one (route, backend), or the sum of several.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) requests: [Codes; MethodLabel::ALL.len()],
    pub(super) duration: Histogram,
    pub(super) first_byte: Histogram,
    pub(super) open: [AtomicI64; 2],
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) failures: Tally,
    pub(super) retries: Tally,
}

impl Shard {
    pub(super) fn new(reasons: &Reasons) -> Self {
        Self {
            requests: array::from_fn(|_| Codes::default()),
            duration: Histogram::default(),
            first_byte: Histogram::default(),
            open: Default::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            failures: Tally::new(reasons.failures),
            retries: Tally::new(reasons.retries),
        }
    }

    /// Adds all counts of `other` to ours.
    pub(super) fn absorb(&self, other: &Self) {
        for (ours, theirs) in self.requests.iter().zip(&other.requests) {
            theirs.each(|status, count| {
                ours.cell(status).fetch_add(count, Relaxed);
            });
        }
        self.duration.absorb(&other.duration);
        self.first_byte.absorb(&other.first_byte);
        for (ours, theirs) in self.open.iter().zip(&other.open) {
            ours.fetch_add(theirs.load(Relaxed), Relaxed);
        }
        add(&self.bytes_in, &other.bytes_in);
        add(&self.bytes_out, &other.bytes_out);
        self.failures.absorb(&other.failures);
        self.retries.absorb(&other.retries);
    }

    /// What `rates` goes by.
    pub(super) fn looked_at(&self, weight: f64, up: bool) -> Totals {
        let (mut requests, mut errors) = (0, 0);
        for codes in &self.requests {
            codes.each(|status, count| {
                requests += count;
                errors += if status >= 500 { count } else { 0 };
            });
        }
        let durations = self.duration.buckets.each_ref().map(|bucket| bucket.load(Relaxed));
        let answers = self.first_byte.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum();
        let [in_flight, tunnels] = self.open.each_ref().map(|gauge| gauge.load(Relaxed));
        Totals { requests, errors, durations, answers, in_flight, tunnels, up, weight }
    }
}

/// Which of a shard's gauges an [`InFlight`] holds up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gauge {
    InFlight,
    Tunnels,
}

/// What [`Codes::each`] says for a status that HTTP doesn't define (RFC 9110 section 15): 0, and 600 and
/// above.
pub(super) const ODD_STATUS: u16 = 0;

/// Requests by status code. A class takes its 800 bytes when it is first seen.
#[derive(Debug, Default)]
pub(super) struct Codes {
    classes: [OnceLock<Box<[AtomicU64; 100]>>; 5],
    odd: AtomicU64,
}

impl Codes {
    fn cell(&self, status: u16) -> &AtomicU64 {
        let (class, code) = (usize::from(status / 100), usize::from(status % 100));
        match class.checked_sub(1).and_then(|place| self.classes.get(place)) {
            Some(class) => &class.get_or_init(|| Box::new(array::from_fn(|_| AtomicU64::new(0))))[code],
            None => &self.odd,
        }
    }

    /// Says every status that occurred, and how often.
    pub(super) fn each(&self, mut say: impl FnMut(u16, u64)) {
        let classes = self.classes.iter().zip([100, 200, 300, 400, 500]);
        let known = classes.filter_map(|(class, first)| Some((class.get()?, first)));
        let known = known.flat_map(|(class, first)| (first..).zip(class.iter()));
        for (status, count) in known.chain([(ODD_STATUS, &self.odd)]) {
            let count = count.load(Relaxed);
            if count > 0 {
                say(status, count);
            }
        }
    }
}

/// Upper bounds in seconds, inclusive: 1 ms to 60 s, with Heroku's 30 s and our own 5 s and 60 s among them.
pub(super) const BOUNDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// [`BOUNDS`] in microseconds.
const BOUNDS_MICROS: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// How many observations fell below which bound, and their sum. The number of all is that of the buckets
/// together, so that the two can't disagree.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    pub(super) buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Microseconds: nanoseconds would overflow within weeks of many long streams.
    pub(super) sum_micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // Compared whole, so that a nanosecond above a bound is above it.
        let bucket = BOUNDS_MICROS.partition_point(|&bound| Duration::from_micros(bound) < took);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    fn absorb(&self, other: &Self) {
        for (ours, theirs) in self.buckets.iter().zip(&other.buckets) {
            add(ours, theirs);
        }
        add(&self.sum_micros, &other.sum_micros);
    }
}

/// Counts by reason, of a closed set.
#[derive(Debug)]
pub(super) struct Tally {
    reasons: &'static [&'static str],
    /// One each, and one for what isn't among them.
    counts: Box<[AtomicU64]>,
}

impl Tally {
    pub(super) fn new(reasons: &'static [&'static str]) -> Self {
        Self { reasons, counts: (0..=reasons.len()).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(super) fn count(&self, reason: &'static str) {
        let place = self.reasons.iter().position(|known| *known == reason);
        self.counts[place.unwrap_or(self.reasons.len())].fetch_add(1, Relaxed);
    }

    /// Says every known reason, and `other` where it occurred.
    pub(super) fn each(&self, mut say: impl FnMut(&'static str, u64)) {
        for (reason, count) in self.reasons.iter().chain(&["other"]).zip(&self.counts) {
            let count = count.load(Relaxed);
            if count > 0 || *reason != "other" {
                say(reason, count);
            }
        }
    }

    fn absorb(&self, other: &Self) {
        for (ours, theirs) in self.counts.iter().zip(&other.counts) {
            add(ours, theirs);
        }
    }
}

fn add(ours: &AtomicU64, theirs: &AtomicU64) {
    ours.fetch_add(theirs.load(Relaxed), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASONS: Reasons =
        Reasons { failures: &["refused", "reset"], retries: &["closed"], rejections: &[] };

    fn codes(codes: &Codes) -> Vec<(u16, u64)> {
        let mut seen = Vec::new();
        codes.each(|status, count| seen.push((status, count)));
        seen
    }

    #[test]
    fn every_status_has_a_place() {
        let table = Codes::default();
        for status in [0, 99, 100, 200, 200, 404, 599, 600, 999, u16::MAX] {
            table.cell(status).fetch_add(1, Relaxed);
        }
        assert_eq!(codes(&table), [(100, 1), (200, 2), (404, 1), (599, 1), (ODD_STATUS, 5)]);
    }

    #[test]
    fn methods_are_a_closed_set() {
        for (number, label) in MethodLabel::ALL.into_iter().enumerate() {
            assert_eq!(label as usize, number);
        }
        for label in &MethodLabel::ALL[..9] {
            let method = Method::from_bytes(label.as_str().as_bytes()).unwrap();
            assert_eq!(MethodLabel::from(&method), *label);
        }
        for odd in ["get", "PROPFIND", "OTHER"] {
            assert_eq!(MethodLabel::from(&Method::from_bytes(odd.as_bytes()).unwrap()), MethodLabel::Other);
        }
    }

    #[test]
    fn bounds_are_inclusive_and_agree() {
        for (seconds, micros) in BOUNDS.iter().zip(BOUNDS_MICROS) {
            assert_eq!(Duration::from_secs_f64(*seconds), Duration::from_micros(micros));
        }
        let histogram = Histogram::default();
        let bound = Duration::from_millis(1);
        for took in [Duration::ZERO, bound, bound + Duration::from_nanos(1), Duration::MAX] {
            histogram.observe(took);
        }
        let counts = histogram.buckets.each_ref().map(|bucket| bucket.load(Relaxed));
        assert_eq!((counts[0], counts[1], counts[15]), (2, 1, 1));
    }

    #[test]
    fn a_sum_has_the_counts_of_all() {
        let (one, two, sum) = (Shard::new(&REASONS), Arc::new(Shard::new(&REASONS)), Shard::new(&REASONS));
        one.requests[0].cell(200).fetch_add(3, Relaxed);
        let series = Series { shard: Arc::clone(&two) };
        let open = (series.in_flight(), series.tunnel(), series.tunnel());
        series.request(MethodLabel::Get, 200);
        series.failure("reset");
        series.failure("unheard-of");
        series.retry("closed");
        series.bytes_in(5);
        series.bytes_out(7);
        sum.absorb(&one);
        sum.absorb(&two);
        drop(open);
        assert_eq!(codes(&sum.requests[0]), [(200, 4)]);
        assert_eq!(sum.open.each_ref().map(|gauge| gauge.load(Relaxed)), [1, 2]);
        assert_eq!(two.open.each_ref().map(|gauge| gauge.load(Relaxed)), [0, 0]);
        assert_eq!((sum.bytes_in.load(Relaxed), sum.bytes_out.load(Relaxed)), (5, 7));
        let mut failures = Vec::new();
        sum.failures.each(|reason, count| failures.push((reason, count)));
        assert_eq!(failures, [("refused", 0), ("reset", 1), ("other", 1)]);
    }
}
