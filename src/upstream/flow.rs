//! How the bytes of one backend's connection flow: whether it takes what is written, and how much a read may bring.
//!
//! `upstream::io` asks and tells while it moves them; `upstream::upload` waits by it, `proxy::answer` sets it by how
//! fast the visitor is. Atomics, since hyper wants its I/O to be `Send`; all of it is one thread's. It must never be
//! waited on: whoever clears the way wakes its own task, which is the body's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::config::limits::SLOW_READ;

/// Of one connection of HTTP/1.1.
#[derive(Debug)]
pub struct Flow {
    blocked: AtomicBool,
    given_up: AtomicBool,
    most: AtomicUsize,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            blocked: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            most: AtomicUsize::new(SLOW_READ),
        }
    }
}

impl Flow {
    /// Notes whether what was written last waits for the backend to take it; says whether the way has become clear.
    pub fn blocks(&self, blocked: bool) -> bool {
        let was = self.blocked.load(Ordering::Relaxed);
        if was != blocked {
            self.blocked.store(blocked, Ordering::Relaxed);
        }
        was && !blocked
    }

    /// Whether it does.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Nobody waits for an exchange on it any more. What the backend hasn't taken by now would be kept for
    /// `timeouts.idle_body` otherwise; all else hyper ends by itself.
    pub fn is_left(&self) {
        if self.is_blocked() {
            self.given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Whether what waits to be written is for nobody.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// From now on a read brings at most so many bytes.
    pub fn reads(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// So many bytes.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}
