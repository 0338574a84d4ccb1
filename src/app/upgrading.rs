//! How this process has another take over: starts it, hands everything on, and serves on where that fails.
//!
//! `app` waits for it beside the signals. Visitors are served throughout: what it does to this process it can undo
//! until the other one serves. It must never end this process, nor leave two that serve different things.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::admin::GateKeeper;
use crate::app::doors::{AdminSocketNow, Shared};
use crate::config::limits::{UPGRADE_ANSWER, UPGRADE_BEHIND, UPGRADE_COUNTS, UPGRADE_SERVE};
use crate::control::command::{Applied, Command, Commands, Outcome, Refused, RefusedReason};
use crate::control::handover::{Given, Handover, Wanted};
use crate::control::status::Statuses;
use crate::telemetry::events::Event;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::upgrade_events::UpgradeEvent;
use crate::upgrade::message::{Go, Place};
use crate::upgrade::notify::Notifier;
use crate::upgrade::program::Program;
use crate::upgrade::successor::{Serving, Successor, UpgradeError};

/// What has another process take over.
pub(super) struct Upgrading {
    pub(super) program: Program,
    /// For the next process.
    pub(super) sockets: Vec<Shared>,
    pub(super) admin_socket: watch::Receiver<Option<AdminSocketNow>>,
    pub(super) commands: Commands,
    pub(super) gate: GateKeeper,
    pub(super) metrics: Metrics,
    pub(super) statuses: Statuses,
    /// How many processes drain behind this one.
    pub(super) behind: watch::Receiver<u32>,
    pub(super) notifier: Notifier,
    pub(super) drain_timeout: Duration,
    pub(super) wanted: mpsc::Receiver<Wanted>,
}

/// Another process serves.
pub(super) struct Replaced {
    successor: Successor,
    /// The places of the sockets that it goes on with.
    pub(super) adopted: Vec<Place>,
    behind: watch::Receiver<u32>,
    gate: GateKeeper,
    metrics: Metrics,
}

impl Upgrading {
    /// Does what is wanted until another process serves.
    pub(super) async fn run(mut self) -> Replaced {
        // Who has stopped waiting for an answer finds it in the log.
        while let Some(Wanted { dry_run, answer, place }) = self.wanted.recv().await {
            let attempt = match self.attempt().await {
                Ok(successor) if dry_run => {
                    let _ = answer.send(self.would(successor).await);
                    continue;
                }
                Ok(successor) => self.hand_over(successor).await.map_err(|error| self.failed(&error)),
                Err(Unable::Refused(refused)) => Err(refused),
                Err(Unable::Failed(error)) => Err(self.failed(&error)),
            };
            self.metrics.commanded("upgrade", attempt.is_ok());
            match attempt {
                Ok((successor, serving)) => {
                    let _ = answer.send(self.applied(&successor, &serving));
                    let Self { behind, gate, metrics, .. } = self;
                    return Replaced { successor, adopted: serving.adopted, behind, gate, metrics };
                }
                Err(refused) => drop(answer.send(Outcome::Refused(refused))),
            }
            drop(place);
        }
        std::future::pending().await
    }

    /// A new process that could serve.
    async fn attempt(&self) -> Result<Successor, Unable> {
        let behind = *self.behind.borrow();
        if std::process::id() == 1 {
            let error = "this is process 1 of its container, which would end with it: start a container with the new \
                         image beside it, then drain this one";
            return Err(Unable::refused(error.to_owned(), RefusedReason::Invalid));
        }
        if behind >= UPGRADE_BEHIND {
            let error = format!("{behind} processes before this one still drain: wait until one has ended");
            return Err(Unable::refused(error, RefusedReason::UpgradeUnderWay));
        }
        let path = self.program.path().map_err(UpgradeError::from)?;
        Event::from(UpgradeEvent::Begun { program: &path.display() }).log();
        let admin = self.admin_socket.borrow().as_ref().map(AdminSocketNow::for_successor).transpose();
        let mut successor = Successor::spawn(&self.program, &path)?;
        successor.prepared(self.sockets.iter().chain(&admin.map_err(UpgradeError::from)?)).await?;
        let (pid, version) = (successor.pid, successor.version.as_str());
        Event::from(UpgradeEvent::Prepared { pid, version }).log();
        Ok(successor)
    }

    /// Hands everything on. Where the other process doesn't serve by it, this one goes on as if nothing had been.
    async fn hand_over(&self, mut successor: Successor) -> Result<(Successor, Serving), UpgradeError> {
        let (given, gave) = oneshot::channel();
        let (taken, takes) = oneshot::channel();
        let (commands, handover) = (self.commands.clone(), Handover { given, taken: takes });
        let lent = tokio::spawn(async move { commands.ask(Command::HandOver(handover)).await });
        let given = match timeout(UPGRADE_SERVE, gave).await {
            Ok(Ok(Ok(given))) => given,
            Ok(Ok(Err(reason))) => return Err(successor.end(UpgradeError::Unable(reason)).await),
            Ok(Err(_)) | Err(_) => {
                let reason = "a change before it takes too long".to_owned();
                return Err(successor.end(UpgradeError::Unable(reason)).await);
            }
        };
        self.notifier.reloading();
        self.gate.shut();
        match successor.go(self.everything(given)).await {
            Ok(serving) => {
                successor.let_go();
                self.metrics.upgraded(true);
                self.gate.leave();
                self.statuses.send_modify(|status| status.draining = true);
                self.notifier.replaced(successor.pid);
                // A Controller that has ended changes nothing either.
                let _ = taken.send(());
                let (pid, version, revision) = (successor.pid, successor.version.as_str(), serving.revision);
                Event::from(UpgradeEvent::Replaced { pid, version, revision }).log();
                Ok((successor, serving))
            }
            Err(error) => {
                let error = successor.end(error).await;
                drop(taken);
                // Whoever hears of it finds everything back in its place.
                let _ = lent.await;
                self.gate.open();
                self.notifier.ready("an upgrade has failed; serving on");
                Err(error)
            }
        }
    }

    fn everything(&self, given: Given) -> Go {
        let Given { revision, overrides, history } = given;
        let history = history.iter().map(|record| (**record).clone()).collect();
        Go { revision, overrides, history, totals: self.metrics.totals(), behind: *self.behind.borrow() }
    }

    /// It would go well.
    async fn would(&self, mut successor: Successor) -> Outcome {
        let Successor { pid, version, .. } = &successor;
        let note =
            format!("version {version} could take over: process {pid} was ready to serve, and was ended");
        let revision = self.statuses.borrow().revision;
        successor.stop().await;
        let (changes, notes) = (Vec::new(), vec![note]);
        Outcome::Live(Applied { revision, dry_run: true, changes, notes, kept: false })
    }

    fn applied(&self, successor: &Successor, serving: &Serving) -> Outcome {
        let (old, timeout) = (std::process::id(), self.drain_timeout.as_secs());
        let Successor { pid, version, .. } = successor;
        let notes = vec![
            format!("process {pid} serves now, version {version}"),
            format!("process {old} finishes what is in flight, for {timeout} s at the most, and ends"),
        ];
        let kept = self.statuses.borrow().state_trouble.is_none();
        Outcome::Live(Applied {
            revision: serving.revision,
            dry_run: false,
            changes: Vec::new(),
            notes,
            kept,
        })
    }

    fn failed(&self, error: &UpgradeError) -> Refused {
        self.metrics.upgraded(false);
        Event::from(UpgradeEvent::Failed { error }).log();
        Refused { error: error.to_string(), reason: RefusedReason::UpgradeFailed }
    }
}

impl Replaced {
    /// Tells the other process what is counted here, again and again.
    pub(super) async fn keep_telling(&mut self) {
        while self.tell().await {
            tokio::time::sleep(UPGRADE_COUNTS).await;
        }
        std::future::pending::<()>().await;
    }

    /// Tells it the last, once all that it can be told has been counted: processes before this one still count.
    pub(super) async fn end(mut self, patience: Duration) {
        let _ = timeout(patience, self.behind.wait_for(|behind| *behind == 0)).await;
        // Who has asked for the upgrade may be waiting for the answer yet.
        let _ = timeout(UPGRADE_ANSWER, self.gate.is_empty()).await;
        self.tell().await;
    }

    async fn tell(&mut self) -> bool {
        let behind = *self.behind.borrow();
        self.successor.tell(self.metrics.totals(), behind).await
    }
}

/// Why there is no other process.
enum Unable {
    /// None was started.
    Refused(Refused),
    /// It came to nothing.
    Failed(UpgradeError),
}

impl Unable {
    fn refused(error: String, reason: RefusedReason) -> Self {
        Self::Refused(Refused { error, reason })
    }
}

impl From<UpgradeError> for Unable {
    fn from(error: UpgradeError) -> Self {
        Self::Failed(error)
    }
}
