//! How the Controller's part goes over to the next process: it lends out everything, and takes it back where that
//! fails.
//!
//! `app` starts processes and asks for it. While another process has it nothing is changed here: what is asked for
//! waits, for as long as `limits::UPGRADE_SERVE` at the most. It must never start or end a process.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::control::command::{Outcome, Refused, RefusedReason};
use crate::control::controller::Controller;
use crate::control::origin::Origin;
use crate::control::overrides::Overrides;
use crate::control::record::Record;

/// Everything is to go to another process.
#[derive(Debug)]
pub struct Handover {
    /// Where it goes, or why it can't.
    pub given: oneshot::Sender<Result<Given, String>>,
    /// Comes once the other process serves; dropped, it doesn't.
    pub taken: oneshot::Receiver<()>,
}

/// Everything that is live.
#[derive(Debug)]
pub struct Given {
    /// The live revision.
    pub revision: u64,
    /// What commands have laid on the file.
    pub overrides: Overrides,
    /// The last revisions, the oldest first.
    pub history: Arc<VecDeque<Arc<Record>>>,
}

/// The way to whoever starts processes, where there is somebody. One is on its way at a time.
#[derive(Debug, Clone)]
pub struct Upgrades {
    wanted: mpsc::Sender<Wanted>,
    place: Arc<Semaphore>,
}

/// An upgrade that somebody wants.
#[derive(Debug)]
pub struct Wanted {
    /// Only find out whether it would go well.
    pub dry_run: bool,
    /// Where the outcome goes.
    pub answer: oneshot::Sender<Outcome>,
    /// Until this is dropped no other is begun.
    pub place: OwnedSemaphorePermit,
}

impl Upgrades {
    /// With what whoever starts processes listens to. Dropped, there are none.
    pub fn new() -> (Self, mpsc::Receiver<Wanted>) {
        let (wanted, asked) = mpsc::channel(1);
        (Self { wanted, place: Arc::new(Semaphore::new(1)) }, asked)
    }

    /// Wants one; or says at once why there is none.
    ///
    /// # Errors
    /// One is under way, or this process starts none.
    pub(super) fn ask(&self, dry_run: bool) -> Result<oneshot::Receiver<Outcome>, Refused> {
        let Ok(place) = Arc::clone(&self.place).try_acquire_owned() else {
            let error = "an upgrade is under way already: wait for its end".to_owned();
            return Err(Refused { error, reason: RefusedReason::UpgradeUnderWay });
        };
        let (answer, outcome) = oneshot::channel();
        self.wanted.try_send(Wanted { dry_run, answer, place }).map(|()| outcome).map_err(|_| {
            let error = "this process starts no other: restart it instead".to_owned();
            Refused { error, reason: RefusedReason::Invalid }
        })
    }
}

impl Controller {
    /// Passes the wish on: it takes seconds, and no rollback may wait for it.
    pub(super) fn upgrade(&mut self, is_dry: bool) -> Outcome {
        match self.outlets.upgrades.ask(is_dry) {
            Ok(outcome) => {
                self.upgrading = Some(outcome);
                self.answer(Vec::new(), Vec::new(), is_dry)
            }
            Err(refused) => Outcome::Refused(refused),
        }
    }

    /// Gives everything away, and waits for what becomes of it. Whether another process has it now.
    pub(super) async fn hand_over(&mut self, handover: Handover) -> bool {
        let Handover { given, taken } = handover;
        let journal = self.outlets.journal.clone();
        if let Some(journal) = &journal
            && !journal.lend().await
        {
            let error = "the state directory hasn't answered for seconds; check its disk".to_owned();
            let _ = given.send(Err(error));
            journal.take_back().await;
            return false;
        }
        let (overrides, history) = (self.overrides.clone(), Arc::clone(&self.history));
        let _ = given.send(Ok(Given { revision: self.revision, overrides, history }));
        if taken.await.is_ok() {
            return true;
        }
        let Some(journal) = journal else { return false };
        if let Some(revision) = journal.take_back().await.filter(|revision| *revision > self.revision) {
            self.overtake(revision).await;
        }
        false
    }

    /// Another process has kept a revision before it failed. What is live here goes before that.
    async fn overtake(&mut self, revision: u64) {
        let current = self.published().current();
        let snapshot = current.steered(current.config.routes.clone(), revision + 1);
        let origin = Origin::of("upgrade", "upgrade".to_owned());
        let snapshot = Arc::new(snapshot);
        self.go_live(Arc::clone(&snapshot), &origin, Vec::new()).await;
        self.count(&snapshot);
    }
}

/// What whoever asks this process for a change is told from then on.
pub(super) fn over() -> Refused {
    let error = "it is draining and takes no new visitors: steer the process that follows it".to_owned();
    Refused { error, reason: RefusedReason::Ending }
}
