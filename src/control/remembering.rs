//! How the Controller keeps what it has made live.
//!
//! It calls this after each publication. It must never hold up what is live: the journal writes by itself.

use std::sync::Arc;

use crate::config::limits::{HISTORY, HISTORY_CHANGES};
use crate::control::controller::Controller;
use crate::control::journal::Entry;
use crate::control::origin::Origin;
use crate::control::record::{Change, Record};
use crate::control::shown::routes;

impl Controller {
    /// Puts the record of what is live now into history and status, and on its way to the journal, where there is one.
    pub(super) fn remember(&mut self, origin: &Origin, changes: Vec<Change>) {
        let record = Arc::new(self.record(origin, changes));
        let history = Arc::make_mut(&mut self.history);
        history.push_back(Arc::clone(&record));
        // Of a thousand routes changed at once, each is a change.
        let mut changes: usize = history.iter().map(|record| record.changes.len()).sum();
        while history.len() > HISTORY || changes > HISTORY_CHANGES && history.len() > 1 {
            changes -= history.pop_front().map_or(0, |oldest| oldest.changes.len());
        }
        let routes = routes(&self.config, &self.overrides);
        self.outlets.statuses.send_modify(|status| {
            status.revision = self.revision;
            status.history = Arc::clone(&self.history);
            status.routes = routes;
            status.file.clone_from(&self.file);
        });
        let Some(journal) = &self.outlets.journal else { return };
        let entry = Entry { record: (*record).clone(), overrides: self.overrides.clone() };
        self.keeping = Some(Box::pin(journal.keep(&entry)));
    }

    fn record(&self, origin: &Origin, changes: Vec<Change>) -> Record {
        let Origin { actor, via, command, reason, undoes } = origin.clone();
        let at = jiff::Timestamp::now().to_string();
        Record { revision: self.revision, at, actor, via: via.to_owned(), command, reason, changes, undoes }
    }
}
