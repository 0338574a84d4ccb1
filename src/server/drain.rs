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

use crate::config::limits::{DRAIN_IDLE_GRACE, TUNNEL_CLOSE};

/// What the process is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It takes and answers requests.
    Serving,
    /// It takes no new connections, and each response says `Connection: close`. Idle connections stay for a
    /// moment: a request may be on its way on them already.
    Draining,
    /// Connections of HTTP/2 are told to leave: they end without losing a request, and somebody else takes their place.
    Moving,
    /// Idle connections are closed; what is in flight goes on.
    Closing,
    /// Tunnels are told to leave.
    Leaving,
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

    /// Leads through the phases; returns once `finished` is, or after `timeout`. Says whether all had finished. Once
    /// `hurried`, nobody is waited for who does nothing.
    pub async fn run(
        &self,
        timeout: Duration,
        pace: Pace,
        hurried: impl Future<Output = ()>,
        finished: impl Future<Output = ()>,
    ) -> bool {
        self.0.send_replace(if pace.moves { Phase::Moving } else { Phase::Draining });
        let phases = async {
            let at_leisure = async {
                tokio::time::sleep(pace.idle).await;
                self.0.send_replace(Phase::Closing);
                tokio::time::sleep(pace.tunnels.saturating_sub(pace.idle)).await;
            };
            tokio::select! {
                () = at_leisure => {}
                () = hurried => {}
            }
            self.0.send_replace(Phase::Leaving);
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

/// How long those are left alone who do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Idle connections.
    idle: Duration,
    /// Tunnels.
    tunnels: Duration,
    /// Whether somebody else takes their place.
    moves: bool,
}

impl Pace {
    /// Where nobody comes after us: we have to end soon, and a request may be on its way.
    pub fn swift(timeout: Duration) -> Self {
        let idle = DRAIN_IDLE_GRACE.min(timeout / 2);
        Self { idle, tunnels: idle, moves: false }
    }

    /// Where another process serves already: whoever comes with another request learns of it from the answer, and most
    /// will have by half the time. A tunnel gets nearly all of it.
    pub fn gentle(timeout: Duration, keep_alive: Duration) -> Self {
        let idle = (timeout / 2).min(keep_alive);
        let tunnels = timeout.saturating_sub(TUNNEL_CLOSE).max(timeout / 2);
        Self { idle, tunnels, moves: true }
    }
}

/// [`Phase::Closing`] and its neighbours as the connections of one worker hear of them: the channel takes a lock shared
/// by all threads whenever it is polled, which no request should.
#[derive(Debug, Default)]
pub struct Closing {
    moving: Cell<bool>,
    begun: Cell<bool>,
    leaving: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl Closing {
    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Whether connections of HTTP/2 are to leave.
    pub fn moves(&self) -> bool {
        self.moving.get()
    }

    /// Whether tunnels are to leave.
    pub fn leaves(&self) -> bool {
        self.leaving.get()
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

    /// Wakes everyone who waits, at each of its phases.
    pub fn reach(&self, phase: Phase) {
        self.moving.set(phase >= Phase::Moving);
        self.begun.set(phase >= Phase::Closing);
        self.leaving.set(phase >= Phase::Leaving);
        self.waiting.borrow().values().for_each(Waker::wake_by_ref);
    }

    /// Wakes everyone who waits, though it hasn't begun: each looks whether its connection may stay.
    pub fn look(&self) {
        self.waiting.borrow().values().for_each(Waker::wake_by_ref);
    }

    /// Has `waker` woken at each phase, as long as the guard lives.
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
        let mut waiting = self.closing.waiting.borrow_mut();
        waiting.remove(&self.place);
        // Those who are silent for a while leave by the thousand.
        if waiting.len() < waiting.capacity() / 8 {
            waiting.shrink_to_fit();
        }
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
