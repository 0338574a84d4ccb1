//! What survives the process: found at start, told of while it runs, closed at the end.
//!
//! `app` calls it. It must never keep the process from starting.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use crate::control::journal::{Closed, Journal};
use crate::control::overrides::Overrides;
use crate::control::record::Record;
use crate::control::status::Statuses;
use crate::telemetry::events::{Event, StateEvent};
use crate::telemetry::metrics::Metrics;
use crate::upgrade::message::Go;

/// What the process before left behind.
#[derive(Default)]
pub(super) struct Kept {
    /// Where it goes on, if anywhere.
    pub(super) journal: Option<Arc<Journal>>,
    /// The revisions, the oldest first.
    pub(super) history: VecDeque<Arc<Record>>,
    /// What commands had changed.
    pub(super) overrides: Overrides,
}

impl Kept {
    /// Of a state directory, where there is one; or what was live in the process before, whatever could be kept of it.
    pub(super) fn of(state_dir: Option<&Path>, before: Option<Go>, metrics: &Metrics) -> Self {
        let mut kept = Self::found(state_dir);
        if let Some(Go { overrides, history, totals, .. }) = before {
            metrics.carry(totals);
            kept.overrides = overrides;
            kept.history = history.into_iter().map(Arc::new).collect();
        }
        kept
    }

    fn found(state_dir: Option<&Path>) -> Self {
        let Some(dir) = state_dir else { return Self::default() };
        let (journal, found) = Journal::open::<Overrides>(dir);
        if found.is_unread {
            let reason = found.trouble.join("; ");
            Event::from(StateEvent::Unread { reason: &reason }).log();
        }
        let overrides = found.entries.last().map(|last| last.overrides.clone()).unwrap_or_default();
        let history = found.entries.into_iter().map(|entry| Arc::new(entry.record)).collect();
        Self { journal: Some(Arc::new(journal)), history, overrides }
    }
}

/// Waits for what is still to be written, for a bounded time.
pub(super) fn close(journal: &Journal) {
    match journal.close() {
        Closed::Kept => {}
        Closed::Lost { entries } => Event::from(StateEvent::Lost { entries }).log(),
    }
}

/// Shows whether a restart would find every change again.
pub(super) async fn tell(journal: Option<Arc<Journal>>, statuses: Statuses, metrics: Metrics) {
    let Some(journal) = journal else { return metrics.kept(true) };
    let mut trouble = journal.trouble();
    loop {
        let now = trouble.borrow_and_update().clone();
        metrics.kept(now.is_none());
        statuses.send_modify(|status| status.state_trouble = now);
        if trouble.changed().await.is_err() {
            return;
        }
    }
}
