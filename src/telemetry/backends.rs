//! The counts of one backend over all routes and workers: connecting is too rare to keep it apart, and health is the
//! control thread's.
//!
//! A worker asks [`Metrics::backend`](super::metrics::Metrics::backend) once per snapshot, `health::watch` with each
//! look. It must never take a lock to count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::series::Histogram;

/// Counts of one backend. Clones count into the same place.
#[derive(Debug, Clone)]
pub struct BackendSeries {
    pub(super) backend: Arc<BackendCounts>,
}

impl BackendSeries {
    /// A new connection stood (TCP and TLS together) after this long.
    pub fn connect(&self, took: Duration) {
        self.backend.connect.observe(took);
    }

    /// So many of its endpoints are fit for requests. With one it is up; it is until told otherwise.
    pub fn usable(&self, endpoints: usize) {
        self.backend.usable.store(endpoints as u64, Relaxed);
        self.backend.up.store(u64::from(endpoints > 0), Relaxed);
    }

    /// An endpoint was left out for what requests met there.
    pub fn ejected(&self) {
        self.backend.ejections.fetch_add(1, Relaxed);
    }

    /// A probe was answered as it should be, or wasn't.
    pub fn probed(&self, good: bool) {
        let count = if good { &self.backend.passed } else { &self.backend.failed };
        count.fetch_add(1, Relaxed);
    }
}

/// What is counted per backend.
#[derive(Debug)]
pub(super) struct BackendCounts {
    pub(super) connect: Histogram,
    pub(super) up: AtomicU64,
    pub(super) usable: AtomicU64,
    pub(super) ejections: AtomicU64,
    pub(super) passed: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Default for BackendCounts {
    fn default() -> Self {
        let [usable, ejections, passed, failed] = Default::default();
        Self { connect: Histogram::default(), up: AtomicU64::new(1), usable, ejections, passed, failed }
    }
}
