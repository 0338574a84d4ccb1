//! Which series exist: one per (route, backend) and one per backend, for as long as the configuration names
//! them.
//!
//! `metrics` calls it: the control thread to bring it in line with a configuration and to sum up, a worker to
//! get a series. A count that has been shown must never go down while its pair exists, whoever drops what.
//! The keys are whole names: the metric vectors of the `prometheus` crate hash label values end to end, so
//! that there route `ab` with backend `c` and route `a` with backend `bc` are one series.

// Taken by the control thread, and by a worker when it meets a new snapshot; held for a map operation or the
// sum of one pair, never while a request is counted.
#![expect(clippy::disallowed_types, reason = "no request is counted under these locks")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backends::{BackendCounts, BackendSeries};
use super::rates;
use super::series::{Reasons, Series, Shard};

/// The label of a route or backend that a request never got to; nothing else can be called so.
pub(super) const NONE: &str = "none";

/// All pairs and backends.
#[derive(Debug)]
pub(super) struct Pairs {
    reasons: Reasons,
    pairs: Mutex<BTreeMap<Key, Arc<Pair>>>,
    backends: Mutex<BTreeMap<String, Arc<BackendCounts>>>,
    modes: Mutex<BTreeMap<String, &'static str>>,
}

impl Pairs {
    pub(super) fn new(reasons: Reasons) -> Self {
        let this =
            Self { reasons, pairs: Mutex::default(), backends: Mutex::default(), modes: Mutex::default() };
        this.reconcile(&[]);
        this
    }

    /// Counts of one pair. Of one that the configuration doesn't name, they go nowhere.
    pub(super) fn series(&self, route: &str, backend: &str) -> Series {
        let pair = lock(&self.pairs).get(&key(route, backend)).cloned();
        let shard = Arc::new(Shard::new(&self.reasons));
        if let Some(pair) = pair {
            lock(&pair.shards).live.push(Arc::clone(&shard));
        }
        Series { shard }
    }

    /// Counts of one backend. Of one that the configuration doesn't name, they go nowhere.
    pub(super) fn backend(&self, name: &str) -> BackendSeries {
        BackendSeries { backend: lock(&self.backends).get(name).cloned().unwrap_or_default() }
    }

    /// Brings what exists in line with `shares`: what is new starts at zero, what is gone goes, the rest
    /// stays.
    pub(super) fn reconcile(&self, shares: &[Share<'_>]) {
        let mut pairs = lock(&self.pairs);
        let mut old = std::mem::take(&mut *pairs);
        let mut keep = |route: &str, backend: &str, weight: Option<f64>, is_stable: bool| {
            let key = key(route, backend);
            let pair = old.remove(&key).unwrap_or_else(|| Arc::new(Pair::new(&self.reasons)));
            pair.weigh(weight);
            pair.is_stable.store(is_stable, Relaxed);
            pair.retire();
            pairs.entry(key).or_insert(pair);
        };
        shares
            .iter()
            .for_each(|share| keep(share.route, share.backend, Some(share.weight_ratio), share.is_stable));
        keep(NONE, NONE, None, false);
        drop(pairs);
        *lock(&self.modes) = shares.iter().map(|share| (share.route.to_owned(), share.mode)).collect();

        let mut backends = lock(&self.backends);
        backends.retain(|name, _| shares.iter().any(|share| share.backend == name));
        for share in shares {
            backends.entry(share.backend.to_owned()).or_default();
        }
    }

    /// The sums of all pairs.
    pub(super) fn totals(&self) -> Vec<Totals> {
        let pairs: Vec<(Key, Arc<Pair>)> =
            lock(&self.pairs).iter().map(|(key, pair)| (key.clone(), Arc::clone(pair))).collect();
        let total = |((route, backend), pair): (Key, Arc<Pair>)| Totals {
            route,
            backend,
            weight_ratio: pair.weight_ratio(),
            is_stable: pair.is_stable.load(Relaxed),
            counts: pair.sum(&self.reasons),
        };
        pairs.into_iter().map(total).collect()
    }

    /// The sums of all pairs but [`NONE`], as `rates` wants them.
    pub(super) fn looked_at(&self) -> impl Iterator<Item = ((String, String), rates::Totals)> {
        let up: BTreeMap<String, bool> =
            self.backends().into_iter().map(|(name, counts)| (name, counts.up.load(Relaxed) == 1)).collect();
        self.totals().into_iter().filter_map(
            move |Totals { route, backend, weight_ratio, counts, .. }| {
                let totals = counts.looked_at(weight_ratio?, up.get(&backend).copied().unwrap_or(true));
                Some(((route, backend), totals))
            },
        )
    }

    /// All backends.
    pub(super) fn backends(&self) -> Vec<(String, Arc<BackendCounts>)> {
        lock(&self.backends).iter().map(|(name, counts)| (name.clone(), Arc::clone(counts))).collect()
    }

    /// Every route with its mode.
    pub(super) fn modes(&self) -> BTreeMap<String, &'static str> {
        lock(&self.modes).clone()
    }
}

/// One route's share of one backend, as published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The backend's name.
    pub backend: &'a str,
    /// The share of the route's requests it gets, 0 to 1.
    pub weight_ratio: f64,
    /// Whether a rollback of the route returns to it.
    pub is_stable: bool,
    /// The mode of the route.
    pub mode: &'static str,
}

/// The sum of one pair's counts.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) route: String,
    pub(super) backend: String,
    /// 0 to 1; nothing where a label is [`NONE`], which has no share and isn't shown until something is
    /// counted.
    pub(super) weight_ratio: Option<f64>,
    pub(super) is_stable: bool,
    pub(super) counts: Shard,
}

type Key = (String, String);

#[derive(Debug)]
struct Pair {
    /// The bits of an `f64`; NaN for none.
    weight_ratio: AtomicU64,
    is_stable: AtomicBool,
    shards: Mutex<Shards>,
}

impl Pair {
    fn new(reasons: &Reasons) -> Self {
        let shards = Mutex::new(Shards { live: Vec::new(), retired: Shard::new(reasons) });
        Self { weight_ratio: AtomicU64::new(f64::NAN.to_bits()), is_stable: AtomicBool::new(false), shards }
    }

    fn weigh(&self, ratio: Option<f64>) {
        self.weight_ratio.store(ratio.unwrap_or(f64::NAN).to_bits(), Relaxed);
    }

    fn weight_ratio(&self) -> Option<f64> {
        Some(f64::from_bits(self.weight_ratio.load(Relaxed))).filter(|ratio| !ratio.is_nan())
    }

    /// Folds in the counts that nobody counts into any more, so that thousands of reloads take no memory.
    fn retire(&self) {
        let mut shards = lock(&self.shards);
        let Shards { live, retired } = &mut *shards;
        live.retain_mut(|shard| match Arc::get_mut(shard) {
            Some(shard) => {
                retired.absorb(shard);
                false
            }
            None => true,
        });
    }

    fn sum(&self, reasons: &Reasons) -> Shard {
        let sum = Shard::new(reasons);
        let shards = lock(&self.shards);
        sum.absorb(&shards.retired);
        shards.live.iter().for_each(|shard| sum.absorb(shard));
        sum
    }
}

#[derive(Debug)]
struct Shards {
    /// One per [`Series`] that was given out.
    live: Vec<Arc<Shard>>,
    /// What those counted that are gone.
    retired: Shard,
}

fn key(route: &str, backend: &str) -> Key {
    (route.to_owned(), backend.to_owned())
}

/// A panic while a lock was held leaves nothing half-done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
