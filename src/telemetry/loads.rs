//! What each backend carries beside its bounds: how many wait, how many may be in flight, who was shed.
//!
//! The Controller tells of the backends before each publish, `metrics` shows what is there when somebody asks. Its lock
//! is the control thread's alone; a request only counts in the [`Load`].

// Taken by the control thread alone.
#![expect(clippy::disallowed_types, reason = "no worker takes this lock")]

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use super::families::{Family, Named, Sample, Value};
use crate::config::limits::Capacity;
use crate::upstream::load::Load;

/// All backends.
#[derive(Debug, Default)]
pub(super) struct Loads(Mutex<Vec<Carried>>);

/// One backend and what it carries.
#[derive(Debug, Clone)]
pub struct Carried {
    /// Its name.
    pub backend: String,
    /// Its load over all workers.
    pub load: Arc<Load>,
    /// Its bounds.
    pub capacity: Capacity,
}

impl Loads {
    /// There are these backends, and no others.
    pub(super) fn are(&self, all: Vec<Carried>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    pub(super) fn named() -> [Named; 3] {
        [WAITING, LIMIT, SHED]
    }

    pub(super) fn families(&self) -> [Family; 3] {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, mut limit, mut shed) = (Vec::new(), Vec::new(), Vec::new());
        for Carried { backend, load, capacity } in all.iter() {
            let sample = |more: &[(&'static str, &str)], value| {
                let more = more.iter().map(|&(name, value)| (name, value.to_owned()));
                Sample { labels: [("backend", backend.clone())].into_iter().chain(more).collect(), value }
            };
            waiting.push(sample(&[], Value::Gauge(f64::from(load.count().waiting))));
            limit.push(sample(&[], Value::Gauge(load.most(capacity) as f64)));
            for (reason, count) in [("overloaded", &load.overloaded), ("queue_timeout", &load.timed_out)] {
                shed.push(sample(&[("reason", reason)], Value::Counter(count.load(Relaxed))));
            }
        }
        drop(all);
        let family = |named, samples| Family { named, samples };
        [family(WAITING, waiting), family(LIMIT, limit), family(SHED, shed)]
    }
}

const WAITING: Named = ("crossfade_queue_requests", "Requests that wait for the backend now.");
const LIMIT: Named =
    ("crossfade_in_flight_limit", "How many requests the backend gets at a time, over all workers.");
const SHED: Named =
    ("crossfade_shed_requests_total", "Requests that the backend had no room for, by what they met.");
