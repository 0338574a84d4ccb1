//! The one place where a snapshot becomes live: an atomic pointer that workers look at with each request.
//!
//! Only the Controller holds a [`Publisher`]; workers hold a [`Published`]. Reading takes no lock.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::snapshot::Snapshot;

/// The writing side: there is one.
#[derive(Debug)]
pub struct Publisher(Arc<ArcSwap<Snapshot>>);

impl Publisher {
    /// Publishes the first snapshot.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self(Arc::new(ArcSwap::new(snapshot)))
    }

    /// Every request that begins from now on sees this one.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.0.store(snapshot);
    }

    /// A reading side.
    pub fn published(&self) -> Published {
        Published(Arc::clone(&self.0))
    }
}

/// The reading side: one for each worker.
#[derive(Debug, Clone)]
pub struct Published(Arc<ArcSwap<Snapshot>>);

impl Published {
    /// The live snapshot where it isn't `current` any more.
    pub fn newer_than(&self, current: &Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        let live = self.0.load();
        (!Arc::ptr_eq(&live, current)).then(|| Arc::clone(&live))
    }

    /// The live snapshot.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}
