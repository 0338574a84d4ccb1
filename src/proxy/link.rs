//! What the reader of a connection's bytes and the handler of its requests tell each other.
//!
//! `server::guard` writes refusals and reads whether a request is in flight; `proxy::handle` the other way
//! round. One thread, so cells. It must never hold anything of a request's content.

use std::cell::Cell;
use std::sync::Arc;

use tokio::time::Instant;

use crate::proxy::interim::Interim;
use crate::proxy::reading::Reading;
use crate::proxy::refusal::Refusal;

/// The two sides' shared cells of one downstream connection.
#[derive(Debug)]
pub struct Link {
    /// Informational responses to be written.
    pub interim: Arc<Interim>,
    /// How its visitor takes the answers on its streams.
    pub reading: Reading,
    heads: Cell<u64>,
    handled: Cell<u64>,
    refused: Cell<Option<(u64, Refusal)>>,
    body_refused: Cell<Option<Refusal>>,
    in_flight: Cell<u32>,
    held: Cell<bool>,
    rests: Cell<bool>,
    stalled: Cell<bool>,
    blocked: Cell<bool>,
    taken: Cell<u64>,
    idle_since: Cell<Instant>,
}

impl Link {
    /// Of a connection accepted `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            interim: Arc::default(),
            reading: Reading::default(),
            heads: Cell::new(0),
            handled: Cell::new(0),
            refused: Cell::new(None),
            body_refused: Cell::new(None),
            in_flight: Cell::new(0),
            held: Cell::new(false),
            rests: Cell::new(false),
            stalled: Cell::new(false),
            blocked: Cell::new(false),
            taken: Cell::new(0),
            idle_since: Cell::new(now),
        }
    }

    /// The reader passed a whole head on.
    pub fn head_passed(&self) {
        self.heads.set(self.heads.get() + 1);
    }

    /// Whether no head has passed yet.
    pub fn is_fresh(&self) -> bool {
        self.heads.get() == 0
    }

    /// Whether no request has come yet.
    pub fn is_unused(&self) -> bool {
        self.handled.get() == 0
    }

    /// The reader passes a stand-in on for a head that it refused. Pipelined requests before it are answered
    /// first, so the refusal is kept under the head's number.
    pub fn refuse(&self, refusal: Refusal) {
        self.head_passed();
        self.refused.set(Some((self.heads.get(), refusal)));
    }

    /// The reader broke a body off.
    pub fn refuse_body(&self, refusal: Refusal) {
        self.body_refused.set(Some(refusal));
    }

    /// Why the reader broke a body off, if it did.
    pub fn body_refusal(&self) -> Option<Refusal> {
        self.body_refused.get()
    }

    /// The handler got the next request; says why it is to be refused, if its bytes were.
    pub fn begin(&self) -> Option<Refusal> {
        self.in_flight.set(self.in_flight.get() + 1);
        self.handled.set(self.handled.get() + 1);
        self.refused.get().filter(|(number, _)| *number == self.handled.get()).map(|(_, refusal)| refusal)
    }

    /// The number of the request in flight on this connection, from 1.
    pub fn number(&self) -> u64 {
        self.handled.get()
    }

    /// The request in flight asks for another protocol: what follows it may be no HTTP, and isn't read as such, nor
    /// passed to anybody, before that is settled.
    pub fn hold(&self) {
        self.held.set(true);
    }

    /// The visitor takes what it is sent too slowly, and the connection, or a stream, ends for that.
    pub fn stall(&self, stalled: bool) {
        self.stalled.set(stalled);
    }

    /// Whether the visitor takes what it is sent too slowly.
    pub fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    /// It goes on in HTTP.
    pub fn release(&self) {
        self.held.set(false);
    }

    /// Whether what follows the request in flight is held.
    pub fn is_held(&self) -> bool {
        self.held.get()
    }

    /// The visitor has had its answers and is silent: nothing needs a buffer before it speaks again.
    pub fn rest(&self) {
        self.rests.set(true);
    }

    /// It speaks again.
    pub fn speak(&self) {
        self.rests.set(false);
    }

    /// Whether it rests.
    pub fn rests(&self) -> bool {
        self.rests.get()
    }

    /// Whether the visitor takes what is written has changed.
    pub fn blocks(&self, blocked: bool) {
        self.blocked.set(blocked);
        if blocked {
            self.taken.set(0);
        }
    }

    /// The visitor was given so many bytes more; says how many since something had to wait for it.
    pub fn takes(&self, bytes: u64) -> u64 {
        let taken = self.taken.get().saturating_add(bytes);
        self.taken.set(taken);
        taken
    }

    /// Whether what was written last waits for the visitor to take it.
    pub fn is_blocked(&self) -> bool {
        self.blocked.get()
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
