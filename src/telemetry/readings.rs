//! Live readings: a look at the counts of all pairs once a second, and what the last looks say together.
//!
//! `app` starts the [`Sampler`] on the control thread; the admin API reads [`Readings`] and waits for the next second.
//! It must never cost a request anything: it reads what is counted anyway.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::metrics::Metrics;
use super::rates::{Chart, Pair, Rates, Reading, Totals};
use crate::config::limits::SAMPLE;

/// What the last seconds and minutes were like. Clones see the same.
#[derive(Debug, Clone)]
pub struct Readings(watch::Receiver<Rates>);

impl Readings {
    /// Of the counts of `metrics`, and what looks at them.
    pub fn new(metrics: Metrics) -> (Self, Sampler) {
        let (rates, watching) = watch::channel(Rates::default());
        (Self(watching), Sampler { metrics, rates })
    }

    /// One backend of one route now; of what isn't looked at yet nothing is known, and nothing bad.
    pub fn now(&self, route: &str, backend: &str) -> Reading {
        self.0.borrow().now(route, backend).unwrap_or(Reading { up: true, ..Reading::default() })
    }

    /// How much time [`now`](Self::now) covers: ten seconds, less at the start.
    pub fn window(&self) -> Duration {
        self.0.borrow().window()
    }

    /// The points of the last fifteen minutes.
    pub fn chart(&self) -> Chart {
        self.0.borrow().chart()
    }

    /// The same, which has seen everything until now.
    pub fn from_now_on(&self) -> Self {
        let mut watching = self.0.clone();
        watching.mark_unchanged();
        Self(watching)
    }

    /// Waits for a second that this one hasn't seen. Never over if nobody looks any more.
    pub async fn second(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether there is a second that this one hasn't seen.
    pub fn has_second(&self) -> bool {
        self.0.has_changed().unwrap_or(false)
    }

    /// How many points there have been: another number means a new one.
    pub fn pointed(&self) -> u64 {
        self.0.borrow().pointed()
    }
}

/// What looks once a second.
#[derive(Debug)]
pub struct Sampler {
    metrics: Metrics,
    rates: watch::Sender<Rates>,
}

impl Sampler {
    /// Looks for ever.
    pub async fn run(self) {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(SAMPLE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(began.elapsed(), SystemTime::now());
        }
    }

    /// Looks once, at `now` since the start, which is `clock`.
    pub fn look(&self, now: Duration, clock: SystemTime) {
        let unix = clock.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let totals: BTreeMap<Pair, Totals> = self.metrics.looked_at().collect();
        self.rates.send_modify(|rates| rates.push(now, unix, totals));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{MethodLabel, Reasons, Share};

    #[tokio::test]
    async fn readings_are_those_of_what_was_counted() {
        let metrics = Metrics::new("1", Reasons::default());
        metrics.reconcile(&[Share {
            route: "web",
            backend: "fly",
            weight_ratio: 0.25,
            is_stable: false,
            mode: "open",
        }]);
        let (mut readings, sampler) = Readings::new(metrics.clone());
        sampler.look(Duration::ZERO, UNIX_EPOCH);
        let (series, backend) = (metrics.series("web", "fly"), metrics.backend("fly"));
        let open = (series.in_flight(), series.in_flight(), series.tunnel());
        for status in [200, 404, 500, 599] {
            series.request(MethodLabel::Get, status);
            series.duration(Duration::from_millis(1));
        }
        series.first_byte(Duration::from_millis(1));
        backend.usable(0);
        sampler.look(Duration::from_secs(2), UNIX_EPOCH);
        readings.second().await;
        let reading = readings.now("web", "fly");
        let point = reading.point;
        assert_eq!((point.requests_per_second, point.error_ratio), (Some(2.0), Some(0.5)));
        assert_eq!((point.p99, point.weight), (Some(0.00099), Some(0.25)));
        assert_eq!((reading.in_flight, reading.tunnels, reading.up), (2, 1, false));
        assert_eq!((reading.last_answer, readings.window()), (Some(Duration::ZERO), Duration::from_secs(2)));
        assert_eq!(readings.now("web", "heroku"), Reading { up: true, ..Reading::default() });
        drop(open);
    }

    #[tokio::test]
    async fn it_looks_at_once_and_then_every_second() {
        let (mut readings, sampler) = Readings::new(Metrics::new("1", Reasons::default()));
        let began = Instant::now();
        tokio::spawn(sampler.run());
        readings.second().await;
        assert_eq!(readings.window(), Duration::ZERO);
        readings.second().await;
        // The first look may have come late, and the second is none the later for it.
        assert!(began.elapsed() >= SAMPLE && !readings.window().is_zero());
    }
}
