//! How a process begins where another was: what came with its start, until the process before has ended.
//!
//! `app` leads through it; a start that follows nobody passes through with nothing. It must never serve anybody before
//! the process before has let go.

use std::sync::Arc;

use tokio::sync::watch;

use crate::app::StartError;
use crate::config::Config;
use crate::control::names::resolve_new;
use crate::snapshot::Snapshot;
use crate::snapshot::registry::Registry;
use crate::telemetry::events::Event;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::upgrade_events::UpgradeEvent;
use crate::upgrade::inherited::Inherited;
use crate::upgrade::message::Go;
use crate::upgrade::predecessor::{Handoff, Predecessor};

/// What came with the start.
#[derive(Debug)]
pub(super) struct Arrival {
    handoff: Option<Handoff>,
    /// Listening sockets.
    pub(super) inherited: Inherited,
    /// What is compiled before its time, so that what it has found out is found again.
    trial: Option<Arc<Snapshot>>,
}

impl Arrival {
    /// Takes what the process before has, or systemd.
    ///
    /// # Errors
    /// The process before is gone.
    pub(super) async fn begin(predecessor: Option<Predecessor>) -> Result<Self, StartError> {
        let (handoff, inherited) = match predecessor {
            Some(predecessor) => {
                let (handoff, inherited) = predecessor.greet().await.map_err(StartError::Handoff)?;
                (Some(handoff), inherited)
            }
            None => (None, Inherited::of_systemd()),
        };
        Ok(Self { handoff, inherited, trial: None })
    }

    /// Whether another process is taken over from.
    pub(super) fn follows(&self) -> bool {
        self.handoff.is_some()
    }

    /// Does what can fail or takes long, then waits for the process before to let go; what that has.
    ///
    /// # Errors
    /// What is wrong with the configuration; or the process before has thought better of it.
    pub(super) async fn go(
        &mut self,
        config: &Config,
        registry: &mut Registry,
    ) -> Result<Option<Go>, StartError> {
        let Some(handoff) = &mut self.handoff else { return Ok(None) };
        let trial = Arc::new(Snapshot::compile(config.clone(), 0, registry)?);
        resolve_new(Arc::clone(&trial)).await;
        self.trial = Some(trial);
        handoff.prepared().await.map(Some).map_err(StartError::Handoff)
    }

    /// Says that this process serves, and counts on from where the one before is until that ends. How many processes
    /// drain behind this one, from now on.
    pub(super) async fn serving(self, revision: u64, metrics: &Metrics, behind: u32) -> watch::Receiver<u32> {
        let (adopted, left) = self.inherited.settle();
        for place in &left {
            Event::from(UpgradeEvent::SocketUnused { place }).log();
        }
        let (tell, told) = watch::channel(0);
        let Some(mut handoff) = self.handoff else { return told };
        Event::from(UpgradeEvent::Followed { revision, sockets: adopted.len() }).log();
        // If it has gone by now, so much the better.
        let _ = handoff.serving(revision, adopted).await;
        metrics.behind(behind + 1);
        tell.send_replace(behind + 1);
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let counted = |totals, behind: u32| {
                metrics.carry(totals);
                metrics.behind(behind + 1);
                tell.send_replace(behind + 1);
            };
            handoff.follow(counted).await;
            metrics.behind(0);
            tell.send_replace(0);
            Event::from(UpgradeEvent::PredecessorGone).log();
        });
        told
    }
}
