//! How the ordering of certificates goes: orders that failed, by what can be done about it, and the last that didn't.
//!
//! `tls::acme` counts, `metrics` shows. A scrape reads atomics; it must never wait for an order.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use super::families::{Family, Named, Sample, Value};
use super::series::Tally;

/// Counts of the process's orders.
#[derive(Debug)]
pub struct Orders {
    failures: Tally,
    success: AtomicU64,
}

impl Default for Orders {
    fn default() -> Self {
        Self { failures: Tally::new(&AcmeFailure::REASONS), success: AtomicU64::new(0) }
    }
}

impl Orders {
    /// An order failed.
    pub fn failed(&self, failure: AcmeFailure) {
        self.failures.count(failure.as_str());
    }

    /// An order was fulfilled.
    pub fn fulfilled(&self, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.success.store(seconds, Relaxed);
    }

    pub(super) fn named() -> [Named; 2] {
        [FAILURES, SUCCESS]
    }

    pub(super) fn families(&self) -> [Family; 2] {
        let mut failures = Vec::new();
        self.failures.each(|reason, count| {
            let labels = vec![("reason", reason.to_owned())];
            failures.push(Sample { labels, value: Value::Counter(count) });
        });
        let success = Value::Gauge(self.success.load(Relaxed) as f64);
        let success = vec![Sample { labels: Vec::new(), value: success }];
        [Family { named: FAILURES, samples: failures }, Family { named: SUCCESS, samples: success }]
    }
}

/// Why there is no new certificate, by what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeFailure {
    /// The authority can't be reached, or took too long.
    Unreachable,
    /// It said no.
    Refused,
    /// It said: too often.
    RateLimited,
    /// It saw no proof that a name is ours.
    NotProved,
    /// What it said makes no sense.
    BadAnswer,
    /// The state directory.
    State,
}

impl AcmeFailure {
    /// Every reason.
    pub const REASONS: [&'static str; 6] =
        ["unreachable", "refused", "rate_limited", "not_proved", "bad_answer", "state"];

    /// The word for it in metrics and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::NotProved => "not_proved",
            Self::BadAnswer => "bad_answer",
            Self::State => "state",
        }
    }
}

const FAILURES: Named = ("crossfade_acme_failures_total", "Orders of certificates that failed, by reason.");
const SUCCESS: Named = (
    "crossfade_acme_last_success_timestamp_seconds",
    "When a certificate was last issued to this process, in seconds since 1970; 0 if never.",
);
