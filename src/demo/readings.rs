//! Rates and quantiles of the last moments, out of counters that only grow: what a dashboard's query would
//! say.
//!
//! Pure: `stage` gives it each scrape with the time since the start. It must never smooth what it was given.

use std::collections::VecDeque;
use std::time::Duration;

use super::Side;
use super::meter::{Counts, Scrape};
use crate::telemetry::rates::quantile;

/// What is shown covers so much time …
const SHOWN: Duration = Duration::from_secs(2);
/// … and what is judged so much: trouble should be seen at once.
const JUDGED: Duration = Duration::from_secs(1);

/// The scrapes of the last moments.
#[derive(Debug, Default)]
pub(super) struct Readings(VecDeque<(Duration, Scrape)>);

impl Readings {
    /// Takes in what was seen at `now`.
    pub(super) fn push(&mut self, now: Duration, scrape: Scrape) {
        // The last one that is older than what is shown is where the difference starts.
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= SHOWN) {
            self.0.pop_front();
        }
        self.0.push_back((now, scrape));
    }

    /// What was seen last.
    pub(super) fn last(&self) -> Scrape {
        self.0.back().map(|(_, scrape)| scrape.clone()).unwrap_or_default()
    }

    /// One side as it is shown.
    pub(super) fn shown(&self, side: Side) -> Reading {
        self.over(side, SHOWN)
    }

    /// One side as it is judged.
    pub(super) fn judged(&self, side: Side) -> Reading {
        self.over(side, JUDGED)
    }

    fn over(&self, side: Side, window: Duration) -> Reading {
        let Some((now, last)) = self.0.back() else { return Reading::default() };
        let within = self.0.iter().rev().find(|(at, _)| now.saturating_sub(*at) >= window);
        let Some((since, first)) = within.or(self.0.front()) else { return Reading::default() };
        let (first, last) = (&first.sides[side as usize], &last.sides[side as usize]);
        Reading::between(first, last, now.saturating_sub(*since))
    }
}

/// One backend over a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Reading {
    /// Requests that ended.
    pub(super) requests: f64,
    /// Requests a second.
    pub(super) rate: f64,
    /// The share of them with a status from 500, 0 to 1; nothing without requests.
    pub(super) errors: Option<f64>,
    /// What half of them took at most, in seconds.
    pub(super) p50: Option<f64>,
    /// What 95 of 100 took at most, in seconds.
    pub(super) p95: Option<f64>,
}

impl Reading {
    fn between(first: &Counts, last: &Counts, took: Duration) -> Self {
        // A backend that left the file and came back counts from zero.
        let requests = (last.requests - first.requests).max(0.0);
        let buckets: Vec<(f64, f64)> =
            last.buckets.iter().map(|&(bound, below)| (bound, below - before(first, bound))).collect();
        Self {
            requests,
            rate: if took.is_zero() { 0.0 } else { requests / took.as_secs_f64() },
            errors: (requests > 0.0).then(|| (last.errors - first.errors).max(0.0) / requests),
            p50: quantile(0.5, &buckets),
            p95: quantile(0.95, &buckets),
        }
    }
}

fn before(counts: &Counts, bound: f64) -> f64 {
    counts.buckets.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, below)| *below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(requests: f64, errors: f64) -> Scrape {
        let buckets = vec![(0.01, requests / 2.0), (0.02, requests), (f64::INFINITY, requests)];
        let counts = Counts { weight: 1.0, requests, errors, buckets };
        Scrape { revision: 1, is_refused: false, sides: [counts, Counts::default()] }
    }

    #[test]
    fn rates_cover_the_last_moments_alone() {
        let mut readings = Readings::default();
        for second in 0..10 {
            let failed = if second == 9 { 50.0 } else { 0.0 };
            readings.push(Duration::from_secs(second), scrape(second as f64 * 100.0, failed));
        }
        let (shown, judged) = (readings.shown(Side::Old), readings.judged(Side::Old));
        assert_eq!((shown.requests, shown.rate, judged.rate), (200.0, 100.0, 100.0));
        assert_eq!((shown.errors, judged.errors), (Some(50.0 / 200.0), Some(0.5)));
        assert_eq!((shown.p50, shown.p95.map(|p95| (p95 * 1e6).round())), (Some(0.01), Some(19_000.0)));
    }

    #[test]
    fn without_requests_there_is_nothing_to_say() {
        let mut readings = Readings::default();
        assert_eq!(readings.shown(Side::New), Reading::default());
        readings.push(Duration::ZERO, scrape(5.0, 0.0));
        readings.push(Duration::from_secs(1), scrape(5.0, 0.0));
        assert_eq!(readings.shown(Side::Old), Reading::default());
        assert_eq!(readings.shown(Side::New), Reading::default());
    }
}
