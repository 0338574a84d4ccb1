//! The one place where a snapshot becomes live: an atomic pointer that workers look at with each request.
//!
//! Only the Controller holds a [`Publisher`]; workers hold a [`Published`]. Reading takes no lock. Who has to know that
//! no request is routed by an older one any more waits for [`Publisher::seen`]: each worker says so by its
//! [`Attendance`], once per revision. It must never make a request wait.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::snapshot::Snapshot;

/// The writing side: there is one.
#[derive(Debug)]
pub struct Publisher {
    live: Arc<ArcSwap<Snapshot>>,
    revisions: watch::Sender<u64>,
    attending: watch::Receiver<Vec<u64>>,
    published: Published,
}

impl Publisher {
    /// Publishes the first snapshot.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let (revisions, changed) = watch::channel(snapshot.revision);
        let (seen, attending) = watch::channel(Vec::new());
        let live = Arc::new(ArcSwap::new(snapshot));
        let published = Published { live: Arc::clone(&live), changed, seen };
        Self { live, revisions, attending, published }
    }

    /// Every request that begins from now on sees this one.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let revision = snapshot.revision;
        self.live.store(snapshot);
        self.revisions.send_replace(revision);
    }

    /// Returns once no worker routes by an older snapshot than the live one; says whether all said so within `most`.
    pub async fn seen(&mut self, most: Duration) -> bool {
        let live = *self.revisions.borrow();
        let all = |seen: &Vec<u64>| seen.iter().all(|revision| *revision >= live);
        tokio::time::timeout(most, self.attending.wait_for(all)).await.is_ok()
    }

    /// A reading side.
    pub fn published(&self) -> Published {
        self.published.clone()
    }
}

/// The reading side: one for each worker.
#[derive(Debug, Clone)]
pub struct Published {
    live: Arc<ArcSwap<Snapshot>>,
    changed: watch::Receiver<u64>,
    seen: watch::Sender<Vec<u64>>,
}

impl Published {
    /// The live snapshot where it isn't `current` any more.
    pub fn newer_than(&self, current: &Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        let live = self.live.load();
        (!Arc::ptr_eq(&live, current)).then(|| Arc::clone(&live))
    }

    /// The live snapshot.
    pub fn current(&self) -> Arc<Snapshot> {
        self.live.load_full()
    }

    /// From now on, changes are live only once the holder has said that it has seen them. To be asked for before the
    /// holder routes anything.
    pub fn attend(&self) -> Attendance {
        let mut place = 0;
        self.seen.send_modify(|seen| {
            place = seen.len();
            seen.push(0);
        });
        Attendance { place, changed: self.changed.clone(), seen: self.seen.clone() }
    }
}

/// One worker's word that it routes by the live snapshot.
#[derive(Debug)]
pub struct Attendance {
    place: usize,
    changed: watch::Receiver<u64>,
    seen: watch::Sender<Vec<u64>>,
}

impl Attendance {
    /// Returns once there is a newer snapshot; never, where there will be none.
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// No request is routed by an older revision than this one.
    pub fn has_seen(&self, revision: u64) {
        self.seen.send_modify(|seen| seen[self.place] = revision);
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        // Nobody waits for a worker that has ended.
        self.has_seen(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::registry::Registry;

    const SOON: Duration = Duration::from_millis(20);

    fn snapshot(revision: u64) -> Arc<Snapshot> {
        let text = "server.http = \"127.0.0.1:0\"\nbackends.a.url = \"http://127.0.0.1:1\"\n\
                    [[routes]]\nname = \"web\"\nweights = { a = 1 }\n";
        let config = crate::config::load(text, &|_| None).unwrap().config;
        Arc::new(Snapshot::compile(config, revision, &mut Registry::default()).unwrap())
    }

    /// Without it a command would be answered while a worker still routes by what was before.
    #[tokio::test]
    async fn a_change_is_seen_once_every_worker_says_so() {
        let mut publisher = Publisher::new(snapshot(1));
        let (one, mut other) = (publisher.published().attend(), publisher.published().attend());
        publisher.publish(snapshot(2));
        assert!(!publisher.seen(SOON).await, "nobody has said so");
        other.changed().await;
        other.has_seen(2);
        one.has_seen(1);
        assert!(!publisher.seen(SOON).await, "one has not");
        one.has_seen(2);
        assert!(publisher.seen(SOON).await);
        publisher.publish(snapshot(3));
        other.has_seen(3);
        assert!(!publisher.seen(SOON).await);
        drop(one);
        assert!(publisher.seen(SOON).await, "nobody waits for who has ended");
    }
}
