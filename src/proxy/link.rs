//! What a connection and the handler of its requests tell each other.
//!
//! `server::http1` and `server::http2` read whether a request is in flight; `proxy::handle` and the bodies the other
//! way round. One thread, so cells. It must never hold anything of a request's content.

use std::cell::Cell;

use tokio::time::Instant;

use crate::proxy::interim::Interim;
use crate::proxy::reading::Reading;
use crate::proxy::refusal::Refusal;

/// The two sides' shared cells of one downstream connection.
#[derive(Debug)]
pub struct Link {
    /// Informational responses to be written.
    pub interim: Interim,
    /// How its visitor takes the answers on its streams.
    pub reading: Reading,
    used: Cell<bool>,
    body_refused: Cell<Option<Refusal>>,
    in_flight: Cell<u32>,
    stalled: Cell<bool>,
    taken: Cell<u64>,
    idle_since: Cell<Instant>,
}

impl Link {
    /// Of a connection accepted `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            interim: Interim::default(),
            reading: Reading::default(),
            used: Cell::new(false),
            body_refused: Cell::new(None),
            in_flight: Cell::new(0),
            stalled: Cell::new(false),
            taken: Cell::new(0),
            idle_since: Cell::new(now),
        }
    }

    /// Of a connection that has been used, and idle since then.
    pub fn idle(since: Instant) -> Self {
        Self { used: Cell::new(true), ..Self::new(since) }
    }

    /// Whether no request has come yet.
    pub fn is_unused(&self) -> bool {
        !self.used.get()
    }

    /// The reader broke a body off.
    pub fn refuse_body(&self, refusal: Refusal) {
        self.body_refused.set(Some(refusal));
    }

    /// Why the reader broke a body off, if it did.
    pub fn body_refusal(&self) -> Option<Refusal> {
        self.body_refused.get()
    }

    /// The handler got the next request.
    pub fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.used.set(true);
    }

    /// The visitor takes what it is sent too slowly, and the connection, or a stream, ends for that.
    pub fn stall(&self, stalled: bool) {
        self.stalled.set(stalled);
    }

    /// Whether the visitor takes what it is sent too slowly.
    pub fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    /// Something waits for the visitor to take it.
    pub fn waits(&self) {
        self.taken.set(0);
    }

    /// The visitor was given so many bytes more; says how many since something had to wait for it.
    pub fn takes(&self, bytes: u64) -> u64 {
        let taken = self.taken.get().saturating_add(bytes);
        self.taken.set(taken);
        taken
    }

    /// An exchange in flight ended `now`.
    pub fn end(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.idle_since.set(now);
    }

    /// Since when nothing is in flight, or nothing while something is.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.in_flight.get() == 0).then(|| self.idle_since.get())
    }
}
