//! The families that have routes, backends or reasons, out of the sums of `pairs`: a table, and how each is
//! read.
//!
//! `metrics` asks for them at each scrape and hands them on as they are. A family of pairs is one row of
//! [`OF_PAIRS`]. It must never show a zero under `none`, nor leave one out elsewhere: a rate has to exist
//! before the first error.

use std::sync::atomic::Ordering::Relaxed;

use super::pairs::{Pairs, Totals};
use super::series::{BOUNDS, Gauge, Histogram, MethodLabel, ODD_STATUS, Tally};

/// A family's name and help.
pub(super) type Named = (&'static str, &'static str);

/// A family as it is now. One without samples isn't shown.
pub(super) struct Family {
    pub(super) named: Named,
    pub(super) samples: Vec<Sample>,
}

/// One line, or one histogram.
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// A sample's value. All samples of a family are of a kind.
pub(super) enum Value {
    Counter(u64),
    Gauge(f64),
    /// Counts of each bucket alone, by [`BOUNDS`] and above, and the sum in seconds.
    Histogram {
        buckets: [u64; BOUNDS.len() + 1],
        sum: f64,
    },
}

/// All families as they are now.
pub(super) fn all(pairs: &Pairs, rejected: &Tally) -> Vec<Family> {
    let totals = pairs.totals();
    let of_pairs = OF_PAIRS.iter().map(|(named, read)| {
        let mut samples = Vec::new();
        totals.iter().for_each(|total| read(total, &mut samples));
        Family { named: *named, samples }
    });
    let mut families: Vec<Family> = of_pairs.collect();
    families.extend(of_routes(pairs));
    families.extend(of_backends(pairs));
    let mut refusals = Vec::new();
    rejected.each(|reason, count| refusals.push(sample(&[("reason", reason)], Value::Counter(count))));
    families.push(Family { named: REJECTED, samples: refusals });
    families
}

/// The names and helps of [`all`].
pub(super) fn named() -> impl Iterator<Item = Named> {
    OF_PAIRS
        .iter()
        .map(|(named, _)| *named)
        .chain([REJECTED, CONNECT, UP, USABLE, EJECTIONS, PROBES, MODE, HELD])
}

const REJECTED: Named = (
    "crossfade_rejected_requests_total",
    "Requests refused for what they are, or shed for want of room, by reason.",
);
const CONNECT: Named = (
    "crossfade_backend_connect_seconds",
    "How long new connections to the backend took, TCP and TLS together, in seconds.",
);
const UP: Named = (
    "crossfade_backend_up",
    "1 if at least one of the endpoints of the backend is fit for requests, 0 if none is.",
);
const USABLE: Named = ("crossfade_endpoints_usable", "Endpoints of the backend that are fit for requests.");
const EJECTIONS: Named = (
    "crossfade_ejections_total",
    "Times an endpoint was left out for a while for the failures that requests met.",
);
const PROBES: Named = ("crossfade_probes_total", "Probes of the backend's endpoints, by result.");
const MODE: Named = ("crossfade_mode", "1 for the mode that the route is in, 0 for the others.");
const HELD: Named = ("crossfade_held_requests", "Requests that wait for the route's hold to end.");

/// How one pair's part of a family is read.
type Read = fn(&Totals, &mut Vec<Sample>);

const OF_PAIRS: [(Named, Read); 10] = [
    (
        ("crossfade_requests_total", "Requests that ended, by method and status code to the visitor."),
        requests,
    ),
    (
        (
            "crossfade_request_duration_seconds",
            "From a request's whole head to its response's last byte, in seconds.",
        ),
        |total, out| times(total, &total.counts.duration, out),
    ),
    (
        (
            "crossfade_first_byte_seconds",
            "From a request's whole head to the head of the backend's response, in seconds.",
        ),
        |total, out| times(total, &total.counts.first_byte, out),
    ),
    (("crossfade_backend_failures_total", "Attempts at a backend that failed, by reason."), |total, out| {
        reasons(total, &total.counts.failures, out);
    }),
    (
        ("crossfade_retries_total", "Further attempts of a request, by what was wrong with the one before."),
        |total, out| reasons(total, &total.counts.retries, out),
    ),
    (("crossfade_requests_in_flight", "Requests that run now."), |total, out| {
        open(total, Gauge::InFlight, out);
    }),
    (("crossfade_tunnels_open", "Tunnels (WebSocket, CONNECT) that are open now."), |total, out| {
        open(total, Gauge::Tunnels, out);
    }),
    (("crossfade_bytes_total", "Bytes of bodies: in from visitors, out to visitors."), bytes),
    (("crossfade_weight_ratio", "The share of the route's requests the backend gets, 0 to 1."), weight),
    (
        ("crossfade_stable", "1 for the backend that a rollback of the route returns to, 0 for its others."),
        |total, out| {
            let level = if total.is_stable { 1.0 } else { 0.0 };
            out.extend(total.weight_ratio.map(|_| sample(&pair(total), Value::Gauge(level))));
        },
    ),
];

/// What exists before it has happened, so that its first occurrence is a rate: what dashboards and alerts ask for.
const AWAITED: [(MethodLabel, [u16; 5]); 2] =
    [(MethodLabel::Get, [200, 500, 502, 503, 504]), (MethodLabel::Post, [200, 500, 502, 503, 504])];

fn requests(total: &Totals, out: &mut Vec<Sample>) {
    for (method, codes) in MethodLabel::ALL.into_iter().zip(&total.counts.requests) {
        let mut write = |status, count| {
            let mut digits = itoa::Buffer::new();
            let code = if status == ODD_STATUS { "other" } else { digits.format(status) };
            out.push(counter(total, &[("method", method.as_str()), ("code", code)], count));
        };
        let mut seen = Vec::new();
        codes.each(|status, count| {
            seen.push(status);
            write(status, count);
        });
        let awaited = AWAITED.iter().filter(|(of, _)| zeros(total) && *of == method);
        let awaited = awaited.flat_map(|(_, codes)| codes).filter(|code| !seen.contains(code));
        awaited.for_each(|status| write(*status, 0));
    }
}

fn times(total: &Totals, times: &Histogram, out: &mut Vec<Sample>) {
    if zeros(total) || times.buckets.iter().any(|bucket| bucket.load(Relaxed) > 0) {
        out.push(sample(&pair(total), histogram(times)));
    }
}

fn reasons(total: &Totals, tally: &Tally, out: &mut Vec<Sample>) {
    tally.each(|reason, count| {
        if zeros(total) || count > 0 {
            out.push(counter(total, &[("reason", reason)], count));
        }
    });
}

fn open(total: &Totals, which: Gauge, out: &mut Vec<Sample>) {
    let now = total.counts.open[which as usize].load(Relaxed);
    if zeros(total) || now != 0 {
        out.push(sample(&pair(total), Value::Gauge(now as f64)));
    }
}

fn bytes(total: &Totals, out: &mut Vec<Sample>) {
    for (direction, count) in [("in", &total.counts.bytes_in), ("out", &total.counts.bytes_out)] {
        let count = count.load(Relaxed);
        if zeros(total) || count > 0 {
            out.push(counter(total, &[("direction", direction)], count));
        }
    }
}

fn weight(total: &Totals, out: &mut Vec<Sample>) {
    out.extend(total.weight_ratio.map(|ratio| sample(&pair(total), Value::Gauge(ratio))));
}

fn of_routes(pairs: &Pairs) -> [Family; 2] {
    let (mut modes, mut held) = (Vec::new(), Vec::new());
    for (route, now) in &pairs.modes() {
        for mode in ["open", "read-only", "hold", "maintenance", "redirect"] {
            let level = if mode == *now { 1.0 } else { 0.0 };
            modes.push(sample(&[("route", route), ("mode", mode)], Value::Gauge(level)));
        }
        held.push(sample(&[("route", route)], Value::Gauge(0.0)));
    }
    [Family { named: MODE, samples: modes }, Family { named: HELD, samples: held }]
}

fn of_backends(pairs: &Pairs) -> [Family; 5] {
    let [mut connect, mut up, mut usable, mut ejections, mut probes] = [const { Vec::new() }; 5];
    for (name, counts) in pairs.backends() {
        let backend = ("backend", name.as_str());
        connect.push(sample(&[backend], histogram(&counts.connect)));
        up.push(sample(&[backend], Value::Gauge(counts.up.load(Relaxed) as f64)));
        usable.push(sample(&[backend], Value::Gauge(counts.usable.load(Relaxed) as f64)));
        ejections.push(sample(&[backend], Value::Counter(counts.ejections.load(Relaxed))));
        for (result, count) in [("passed", &counts.passed), ("failed", &counts.failed)] {
            probes.push(sample(&[backend, ("result", result)], Value::Counter(count.load(Relaxed))));
        }
    }
    let named = [(CONNECT, connect), (UP, up), (USABLE, usable), (EJECTIONS, ejections), (PROBES, probes)];
    named.map(|(named, samples)| Family { named, samples })
}

/// Whether zeros are shown: what has a share of a split shows them, `none` only what was counted.
fn zeros(total: &Totals) -> bool {
    total.weight_ratio.is_some()
}

fn pair(total: &Totals) -> [(&'static str, &str); 2] {
    [("route", &total.route), ("backend", &total.backend)]
}

fn counter(total: &Totals, more: &[(&'static str, &str)], count: u64) -> Sample {
    sample(&[&pair(total), more].concat(), Value::Counter(count))
}

fn sample(labels: &[(&'static str, &str)], value: Value) -> Sample {
    Sample { labels: labels.iter().map(|&(name, value)| (name, value.to_owned())).collect(), value }
}

fn histogram(from: &Histogram) -> Value {
    let buckets = from.buckets.each_ref().map(|bucket| bucket.load(Relaxed));
    Value::Histogram { buckets, sum: from.sum_micros.load(Relaxed) as f64 / 1e6 }
}
