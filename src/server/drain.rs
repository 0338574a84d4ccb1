//! How serving ends: the phases between the signal and the exit, told by the control thread and heard by all
//! workers.
//!
//! It must never cut off what could finish within the deadline.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;

use crate::config::limits::DRAIN_IDLE_GRACE;

/// What the process is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It takes and answers requests.
    Serving,
    /// It takes no new connections, and each response says `Connection: close`. Idle connections stay for a
    /// moment: a request may be on its way on them already.
    Draining,
    /// Idle connections are closed; what is in flight goes on.
    Closing,
    /// The time is up.
    Ended,
}

/// The telling side.
#[derive(Debug)]
pub struct Drain(watch::Sender<Phase>);

impl Drain {
    /// With its hearing side, which is cloned for every worker and connection.
    pub fn new() -> (Self, Draining) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (Self(sender), Draining(receiver))
    }

    /// Leads through the phases; returns once `finished` is, or after `timeout`. Says whether all had
    /// finished.
    pub async fn run(&self, timeout: Duration, finished: impl Future<Output = ()>) -> bool {
        self.0.send_replace(Phase::Draining);
        let phases = async {
            tokio::time::sleep(DRAIN_IDLE_GRACE.min(timeout / 2)).await;
            self.0.send_replace(Phase::Closing);
            std::future::pending::<()>().await;
        };
        let whole = tokio::select! {
            () = finished => true,
            () = phases => false,
            () = tokio::time::sleep(timeout) => false,
        };
        self.0.send_replace(Phase::Ended);
        whole
    }
}

/// [`Phase::Closing`] as the connections of one worker hear of it: the channel takes a lock shared by all threads
/// whenever it is polled, which no request should.
#[derive(Debug, Default)]
pub struct Closing {
    begun: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl Closing {
    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Returns once it has begun.
    pub async fn begun(self: &Rc<Self>) {
        let mut waiting = None;
        poll_fn(|cx| {
            waiting.get_or_insert_with(|| self.wake(cx.waker()));
            if self.has_begun() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Wakes everyone who waits.
    pub fn begin(&self) {
        self.begun.set(true);
        self.waiting.take().into_values().for_each(Waker::wake);
    }

    /// Wakes everyone who waits, though it hasn't begun: each looks whether its connection may stay.
    pub fn look(&self) {
        self.waiting.borrow().values().for_each(Waker::wake_by_ref);
    }

    /// Has `waker` woken when it begins, as long as the guard lives.
    pub fn wake(self: &Rc<Self>, waker: &Waker) -> Waiting {
        let place = self.next.replace(self.next.get() + 1);
        self.waiting.borrow_mut().insert(place, waker.clone());
        Waiting { closing: Rc::clone(self), place }
    }
}

/// A connection that is to be woken.
#[derive(Debug)]
pub struct Waiting {
    closing: Rc<Closing>,
    place: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.closing.waiting.borrow_mut().remove(&self.place);
    }
}

/// The hearing side.
#[derive(Debug, Clone)]
pub struct Draining(watch::Receiver<Phase>);

impl Draining {
    /// Returns once `phase` has begun, or nobody leads any more.
    pub async fn reached(&mut self, phase: Phase) {
        // An error means that the control thread is gone, which ends every phase.
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }
}
