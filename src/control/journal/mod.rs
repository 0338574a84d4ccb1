//! What survives a restart: the last revisions, each with every override that was there after it.
//!
//! The Controller owns it; `app` opens and closes it. One thread writes it, since disks hang. It must never hold up a
//! change that is live, nor keep the process from starting, nor forget what it was told to keep while the process
//! lives.

mod desk;
mod disk;
mod line;
mod writer;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::limits::{JOURNAL_CLOSE, JOURNAL_LEND, JOURNAL_OPEN, JOURNAL_WAIT};
use crate::control::journal::desk::Desk;
use crate::control::journal::line::Line;
use crate::control::journal::writer::{Start, Writer};
use crate::telemetry::events::{Event, StateEvent};

pub use line::Entry;

/// The journal of a state directory.
#[derive(Debug)]
pub struct Journal {
    desk: Arc<Desk>,
}

impl Journal {
    /// Reads what the state directory has, which is made if need be, and begins to write there. Waits for
    /// [`JOURNAL_OPEN`] at the most. It never fails: what is in the way is told, and tried again.
    pub fn open<O: DeserializeOwned>(dir: &Path) -> (Self, Found<O>) {
        let slow = format!("{} hasn't answered for seconds; check its disk", dir.display());
        let desk = Arc::new(Desk::new(slow.clone()));
        let (start, started) = sync_channel(1);
        let writer = Writer::new(dir.to_owned(), Arc::clone(&desk));
        let run = move || writer.run(&start);
        if let Err(error) = thread::Builder::new().name("journal".into()).spawn(run) {
            let reason = format!("the journal has no thread: {error}; raise the limit on threads");
            desk.tell(Err(reason.clone()), Vec::new(), 0);
            desk.ended();
            return (Self { desk }, Found { entries: Vec::new(), trouble: vec![reason], is_unread: true });
        }
        let found = match started.recv_timeout(JOURNAL_OPEN) {
            Ok(start) => Found::of(dir, start),
            Err(_) => {
                desk.missed();
                Found { entries: Vec::new(), trouble: vec![slow], is_unread: true }
            }
        };
        (Self { desk }, found)
    }

    /// Keeps an entry. It is on its way when this returns; the future waits for the disk, for [`JOURNAL_WAIT`] at the
    /// most, and not at all while the disk lets others wait.
    pub fn keep<O: Serialize>(
        &self,
        entry: &Entry<O>,
    ) -> impl Future<Output = Kept> + Send + 'static + use<O> {
        let laid = Line::of(entry).map_err(|error| error.to_string());
        let laid = laid.and_then(|line| self.desk.lay(line));
        let desk = Arc::clone(&self.desk);
        async move {
            let mut answer = match laid {
                Ok(answer) => answer,
                Err(reason) => return Kept::NotYet(reason),
            };
            match timeout(JOURNAL_WAIT, &mut answer).await {
                Ok(Ok(kept)) => kept,
                Ok(Err(_)) | Err(_) => desk.give_up(answer),
            }
        }
    }

    /// Why what is live may be forgotten by a restart; nothing while all is kept.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.desk.trouble()
    }

    /// Leaves the state directory to the next process once everything is written, or can't be; returns at once.
    /// Nothing is kept from now on.
    pub fn release(&self) {
        self.desk.close();
    }

    /// Leaves the state directory to another process for a while, once everything is written or can't be. Whether that
    /// is done within [`JOURNAL_LEND`].
    pub async fn lend(&self) -> bool {
        matches!(timeout(JOURNAL_LEND, self.desk.lend()).await, Ok(Ok(())))
    }

    /// Goes on with the state directory that was lent; the number of the last revision there, where that is known
    /// within [`JOURNAL_WAIT`].
    pub async fn take_back(&self) -> Option<u64> {
        let newest = timeout(JOURNAL_WAIT, self.desk.take_back()).await.ok()?.ok()??;
        newest.entry::<serde_json::Value>().map(|entry| entry.record.revision)
    }

    /// Waits for [`JOURNAL_CLOSE`] at the most until everything is written.
    pub fn close(&self) -> Closed {
        self.desk.close();
        match self.desk.join(JOURNAL_CLOSE) {
            0 => Closed::Kept,
            entries => Closed::Lost { entries },
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// Whether an entry survives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is on the disk.
    Yes,
    /// Not yet, for this reason; it is tried again.
    NotYet(String),
}

/// How [`Journal::close`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Everything is kept.
    Kept,
    /// So many of the last entries go with the process.
    Lost {
        /// How many.
        entries: usize,
    },
}

/// What a state directory had at start.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<O> {
    /// The last [`HISTORY`](crate::config::limits::HISTORY) entries that are whole, the oldest first.
    pub entries: Vec<Entry<O>>,
    /// What was wrong, a sentence each; events have told it.
    pub trouble: Vec<String>,
    /// What is kept, if anything, couldn't be read.
    pub is_unread: bool,
}

impl<O: DeserializeOwned> Found<O> {
    fn of(dir: &Path, start: Start) -> Self {
        let Start { lines, mut trouble, is_unread } = start;
        let entries: Vec<Entry<O>> = lines.iter().filter_map(Line::entry).collect();
        let foreign = lines.count() - entries.len();
        if foreign > 0 {
            let what =
                format!("{foreign} changes in {} are of another version and were left out", dir.display());
            Event::from(StateEvent::FoundBroken { what: &what }).log();
            trouble.push(what);
        }
        Self { entries, trouble, is_unread }
    }
}

#[cfg(test)]
mod tests;
