//! Where the Controller lays down what is to be kept, and the journal's thread takes it from.
//!
//! `Journal` and its `writer` share it. Nobody may hold its lock while a disk is waited for.
#![expect(clippy::disallowed_types, reason = "no request is served by either side")]

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::config::limits::HISTORY;
use crate::control::journal::Kept;
use crate::control::journal::line::Line;
use crate::telemetry::events::{Event, StateEvent};

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    pile: Mutex<Pile>,
    changed: Condvar,
    /// Why what is live may be forgotten, if it may.
    trouble: watch::Sender<Option<String>>,
    /// What to say when the disk takes too long.
    slow: String,
}

/// What lies on it.
#[derive(Debug, Default)]
struct Pile {
    waiting: VecDeque<(Line, Answer)>,
    /// The thread has been waited for in vain, and hasn't come back since.
    hung: bool,
    /// Nothing more will be written.
    closed: bool,
    /// The thread is gone.
    ended: bool,
    /// How many lines the thread holds that it hasn't written.
    unwritten: usize,
    lending: Lending,
}

/// Whose the state directory is.
#[derive(Debug, Default)]
enum Lending {
    /// Ours.
    #[default]
    Ours,
    /// Ours, and somebody else is to have it.
    Wanted(oneshot::Sender<()>),
    /// Somebody else's.
    Lent,
    /// Ours again; the newest line that is there is waited for.
    Returned(oneshot::Sender<Option<Line>>),
}

/// The way back to whoever waits.
pub(super) type Answer = oneshot::Sender<Kept>;

/// What the thread takes at once.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) lines: Vec<Line>,
    pub(super) answers: Vec<Answer>,
    /// It is the last.
    pub(super) closed: bool,
    pub(super) turn: Turn,
}

/// What happens to the state directory.
#[derive(Debug)]
pub(super) enum Turn {
    /// It stays ours.
    Ours,
    /// It is to be let go of, once everything is written.
    Lend(oneshot::Sender<()>),
    /// It isn't ours.
    Lent,
    /// It is ours again: the newest line that is there is waited for.
    Returned(oneshot::Sender<Option<Line>>),
}

impl Desk {
    pub(super) fn new(slow: String) -> Self {
        let trouble = watch::Sender::new(None);
        Self { pile: Mutex::default(), changed: Condvar::new(), trouble, slow }
    }

    /// Why what is live may be forgotten, if it may.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Lays a line down, to be asked after; or says at once why it isn't kept yet. The newest is the state: where
    /// there is no room, the oldest goes.
    pub(super) fn lay(&self, line: Line) -> Result<oneshot::Receiver<Kept>, String> {
        let mut pile = self.pile();
        if pile.closed || pile.ended {
            return Err("the journal is closed: this process writes no more".to_owned());
        }
        let (answer, kept) = oneshot::channel();
        pile.waiting.push_back((line, answer));
        if pile.waiting.len() > HISTORY {
            pile.waiting.pop_front();
        }
        self.changed.notify_all();
        if pile.hung { Err(self.slow.clone()) } else { Ok(kept) }
    }

    /// Whoever asked after a line has waited long enough.
    pub(super) fn give_up(&self, mut kept: oneshot::Receiver<Kept>) -> Kept {
        let mut pile = self.pile();
        // It may have come while the lock was waited for.
        if let Ok(kept) = kept.try_recv() {
            return kept;
        }
        self.hang(&mut pile);
        Kept::NotYet(self.slow.clone())
    }

    /// The thread didn't come.
    pub(super) fn missed(&self) {
        self.hang(&mut self.pile());
    }

    /// Waits for lines, or for the end, or for the next try.
    pub(super) fn take(&self, retry: Option<Duration>) -> Taken {
        let idle = |pile: &mut Pile| match pile.lending {
            Lending::Ours => pile.waiting.is_empty() && !pile.closed,
            Lending::Lent => !pile.closed,
            Lending::Wanted(_) | Lending::Returned(_) => false,
        };
        let mut pile = match retry {
            Some(retry) => {
                let waited = self.changed.wait_timeout_while(self.pile(), retry, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(self.pile(), idle).unwrap_or_else(PoisonError::into_inner),
        };
        let closed = pile.closed;
        let turn = match std::mem::take(&mut pile.lending) {
            Lending::Ours => Turn::Ours,
            Lending::Returned(newest) => Turn::Returned(newest),
            Lending::Wanted(done) => {
                pile.lending = Lending::Lent;
                Turn::Lend(done)
            }
            Lending::Lent => {
                pile.lending = Lending::Lent;
                return Taken { lines: Vec::new(), answers: Vec::new(), closed, turn: Turn::Lent };
            }
        };
        let (lines, answers): (Vec<Line>, _) = pile.waiting.drain(..).unzip();
        pile.unwritten += lines.len();
        Taken { lines, answers, closed, turn }
    }

    /// Has the thread let go of the state directory, once everything is written or can't be.
    pub(super) fn lend(&self) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        self.pile().lending = Lending::Wanted(done);
        self.changed.notify_all();
        is_done
    }

    /// The thread has let go of it: what isn't written is with whoever has it now.
    pub(super) fn lent(&self) {
        self.pile().unwritten = 0;
    }

    /// Has the thread go on with it, whatever is there by now; the newest line of that.
    pub(super) fn take_back(&self) -> oneshot::Receiver<Option<Line>> {
        let (newest, told) = oneshot::channel();
        self.pile().lending = Lending::Returned(newest);
        self.changed.notify_all();
        told
    }

    /// The thread says what came of it.
    pub(super) fn tell(&self, wrote: Result<(), String>, answers: Vec<Answer>, unwritten: usize) {
        let mut pile = self.pile();
        pile.hung = false;
        pile.unwritten = unwritten;
        let kept = match &wrote {
            Ok(()) => Kept::Yes,
            Err(reason) => Kept::NotYet(reason.clone()),
        };
        self.set_trouble(wrote.err());
        for answer in answers {
            // Whoever has stopped waiting finds it in the status.
            let _ = answer.send(kept.clone());
        }
    }

    /// Has the thread write what is left, then end.
    pub(super) fn close(&self) {
        self.pile().closed = true;
        self.changed.notify_all();
    }

    /// The thread is gone.
    pub(super) fn ended(&self) {
        self.pile().ended = true;
        self.changed.notify_all();
    }

    /// Waits for the thread's end. Answers how many lines are lost with this process.
    pub(super) fn join(&self, patience: Duration) -> usize {
        let waited = self.changed.wait_timeout_while(self.pile(), patience, |pile| !pile.ended);
        let (pile, _) = waited.unwrap_or_else(PoisonError::into_inner);
        pile.waiting.len() + pile.unwritten
    }

    fn hang(&self, pile: &mut Pile) {
        pile.hung = true;
        self.set_trouble(Some(self.slow.clone()));
    }

    fn set_trouble(&self, now: Option<String>) {
        let news = self.trouble.send_if_modified(|before| {
            let news = *before != now;
            before.clone_from(&now);
            news
        });
        match now {
            _ if !news => {}
            Some(reason) => Event::from(StateEvent::Trouble { reason: &reason }).log(),
            None => Event::from(StateEvent::Recovered).log(),
        }
    }

    /// Nothing that panics is done under it.
    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
