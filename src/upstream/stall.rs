//! Ends what makes no progress: a body without a byte, a write that nobody reads. hyper has no such timers.
//!
//! The I/O wrappers of both sides and the bodies of both directions each hold one. It must never cost a timer
//! while bytes move.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A deadline that starts when something pends and starts anew with each progress.
#[derive(Debug)]
pub struct Stall {
    limit: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Nothing may stand still for longer than `limit`.
    pub fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    /// Something moved; how long it had stood still.
    pub fn progress(&mut self) -> Duration {
        self.since.take().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether something pended when it was last looked at.
    pub fn is_pending(&self) -> bool {
        self.since.is_some()
    }

    /// For how long it has.
    pub fn lasts(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Something pends; ready when it has for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        // The timer of an earlier wait is left standing, and looks at the time when it fires.
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// The outcome of a write or read, or [`io::ErrorKind::TimedOut`] where it has been pending for too long.
    pub fn check<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.progress();
            return outcome;
        }
        self.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}
