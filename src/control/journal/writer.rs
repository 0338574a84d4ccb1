//! The journal's own thread: the one that waits for the disk.
//!
//! `Journal` starts it and hands it lines over [`Desk`]. It must never give up what it was handed: what can't be
//! written now is written later, together with what has come since.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::config::limits::JOURNAL_RETRY;
use crate::control::journal::desk::{Desk, Taken, Turn};
use crate::control::journal::disk::{BROKEN, JOURNAL, Store, StoreError, read};
use crate::control::journal::line::{Line, Lines, Reading};
use crate::telemetry::events::{Event, StateEvent};

/// What was in the state directory at start.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// The good lines.
    pub(super) lines: Lines,
    /// What was wrong with the rest.
    pub(super) trouble: Vec<String>,
    /// Nobody knows what there is.
    pub(super) is_unread: bool,
}

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    desk: Arc<Desk>,
    /// Nothing while something is in the way.
    store: Option<Store>,
    /// What the file has or should have.
    lines: Lines,
    /// How many of those, at their end, it hasn't yet.
    unwritten: usize,
    /// What was synced last may not be on the disk, whatever the file says: the kernel tells of that once.
    doubtful: bool,
    /// It has been told that the file grows.
    growing: bool,
    /// What was there at start was handed on: what comes to light later, nobody serves by.
    started: bool,
    /// Another process had it, and what that has written is no stranger's.
    lent: bool,
}

impl Writer {
    pub(super) fn new(dir: PathBuf, desk: Arc<Desk>) -> Self {
        let (store, lines, unwritten) = (None, Lines::default(), 0);
        Self {
            dir,
            desk,
            store,
            lines,
            unwritten,
            doubtful: false,
            growing: false,
            started: false,
            lent: false,
        }
    }

    /// Sends what was found, then writes what comes, until the desk is closed.
    pub(super) fn run(mut self, start: &SyncSender<Start>) {
        let _ended = Ended(Arc::clone(&self.desk));
        // Whoever waited for it has gone on without, perhaps.
        let _ = start.send(self.start());
        loop {
            let retry = self.store.is_none().then_some(JOURNAL_RETRY);
            let Taken { lines, answers, closed, turn } = self.desk.take(retry);
            let lend = match turn {
                Turn::Ours => None,
                Turn::Lend(done) => Some(done),
                Turn::Lent if closed => return,
                Turn::Lent => continue,
                Turn::Returned(newest) => {
                    // Whoever waits may have gone on without.
                    let _ = newest.send(self.take_back());
                    None
                }
            };
            for line in lines {
                self.lines.push(line);
                self.unwritten = self.lines.count().min(self.unwritten + 1);
            }
            let wrote = self.write();
            if wrote.is_ok() {
                self.unwritten = 0;
            }
            self.desk.tell(wrote.map_err(|error| error.to_string()), answers, self.unwritten);
            if let Some(done) = lend {
                (self.store, self.lent) = (None, true);
                self.desk.lent();
                let _ = done.send(());
                continue;
            }
            if closed {
                // Let go of before anybody hears of the end.
                return self.store = None;
            }
            self.shorten();
        }
    }

    /// Reads what is there, ours to write or not. Answers with what is wrong.
    fn start(&mut self) -> Start {
        let (reading, held, is_unread) = match self.attach() {
            Ok(reading) => (reading, Ok(()), false),
            Err(error) => match read(&self.dir.join(JOURNAL)) {
                Ok(found) => (found.unwrap_or_default(), Err(error), false),
                Err(_) => (Reading::default(), Err(error), true),
            },
        };
        let mut trouble = self.faults(&reading);
        for what in &trouble {
            Event::from(StateEvent::FoundBroken { what }).log();
        }
        trouble.extend(held.as_ref().err().map(ToString::to_string));
        self.lines = reading.lines;
        self.started = true;
        self.desk.tell(held.map_err(|error| error.to_string()), Vec::new(), 0);
        Start { lines: self.lines.clone(), trouble, is_unread }
    }

    /// Goes on with what another process has left; the newest line of that.
    fn take_back(&mut self) -> Option<Line> {
        // What is in the way is told with the next line.
        let reading = self.attach().ok()?;
        reading.lines.iter().last().cloned()
    }

    /// Writes what isn't written, and finds out whether the file is still the one that it was.
    fn write(&mut self) -> Result<(), StoreError> {
        let wrote = match self.store.take().filter(Store::is_there) {
            Some(mut store) => store.append(&self.lines, self.unwritten).map(|()| self.store = Some(store)),
            None => self.attach().map(|reading| self.say_again(&reading)),
        };
        if let Err(StoreError::Sync { .. }) = wrote {
            self.doubtful = true;
        }
        wrote
    }

    /// Begins with the file as it is now: somebody may have moved it or removed it. If somebody has added to it, it is
    /// left alone.
    fn attach(&mut self) -> Result<Reading, StoreError> {
        let (mut store, reading) = Store::open(&self.dir)?;
        if self.started && !self.lent && reading.lines.newer_than(&self.lines) > 0 {
            return Err(StoreError::Foreign(self.dir.join(JOURNAL)));
        }
        let newer = self.lines.newer_than(&reading.lines);
        let mut lines = reading.lines.clone();
        self.lines.iter().skip(self.lines.count() - newer).for_each(|line| lines.push(line.clone()));
        store.settle(&reading, &lines, newer, self.doubtful)?;
        (self.doubtful, self.lent) = (false, false);
        self.store = Some(store);
        self.lines = lines;
        Ok(reading)
    }

    fn say_again(&self, reading: &Reading) {
        for what in self.faults(reading) {
            Event::from(StateEvent::FoundBroken { what: &what }).log();
        }
    }

    /// What a person should know of a file that was read.
    fn faults(&self, reading: &Reading) -> Vec<String> {
        let journal = self.dir.join(JOURNAL);
        let journal = journal.display();
        // Without the lock it is left as it is, and found so again.
        let aside = if self.store.is_some() {
            format!("; the whole file is kept as {BROKEN}")
        } else {
            String::new()
        };
        let mut faults = Vec::new();
        if reading.cut {
            faults.push(format!("{journal} is larger than any of ours: only its end was read{aside}"));
        }
        match reading.bad {
            0 => {}
            1 => faults.push(format!("a line of {journal} is damaged and was left out{aside}")),
            bad => faults.push(format!("{bad} lines of {journal} are damaged and were left out{aside}")),
        }
        if reading.torn > 0 {
            let aside = if reading.is_broken() { aside.as_str() } else { "" };
            faults.push(format!("an unfinished change at the end of {journal} was dropped{aside}"));
        }
        faults
    }

    /// Keeps the file from growing for ever. If it can't be, that is no reason to keep no more changes.
    fn shorten(&mut self) {
        let Some(store) = self.store.as_mut().filter(|store| store.is_long()) else { return };
        match store.rewrite(&self.lines) {
            Ok(()) => self.growing = false,
            Err(_) if self.growing => {}
            Err(reason) => {
                self.growing = true;
                Event::from(StateEvent::NotShortened { reason: &reason }).log();
            }
        }
    }
}

/// Tells that the thread has ended, however it did.
struct Ended(Arc<Desk>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended();
    }
}
