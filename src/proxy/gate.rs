//! The gate before a backend: so many requests at a time go through, so many wait in order, the rest is shed at once.
//!
//! `proxy::forward` enters it before the first attempt at a backend. The permit rides in the exchange until the head of
//! the response; when it is dropped, and while an upload waits for its visitor, the next is let in: a slow visitor must
//! never shut others out. With no queue it costs one atomic step each way. It must never let anybody overtake on its
//! worker, nor forget who waits: a waiter who leaves in whatever way leaves the queue with it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::config::limits::Capacity;
use crate::config::limits::overload::QUEUE_LOOK;
use crate::config::model::BackendIndex;
use crate::proxy::error::Error;
use crate::proxy::exchange::Exchange;
use crate::proxy::shed::Shed;
use crate::upstream::line::{Line, Ticket};
use crate::upstream::load::{Entry, Load};

/// Lets an exchange in to a backend, and out of the one that it was in before.
///
/// # Errors
/// When there is no room, or none in time.
pub async fn enter(exchange: &mut Exchange, BackendIndex(at): BackendIndex) -> Result<(), Error> {
    exchange.leaves();
    let gate = &exchange.view.backends[at].gate;
    let permit = match gate.enter() {
        Ok(Some(permit)) => Ok(permit),
        Ok(None) => {
            let until = (Instant::now() + gate.capacity.get().queue_timeout).min(exchange.deadline());
            // In a box: the state of requests that needn't wait stays as small as it is.
            Box::pin(Rc::clone(gate).wait(until)).await
        }
        Err(shed) => Err(shed),
    };
    exchange.enters(permit.map_err(Error::Shed)?);
    Ok(())
}

/// One worker's side of a backend's load.
#[derive(Debug)]
pub struct Gate {
    load: Arc<Load>,
    capacity: Cell<Capacity>,
    line: RefCell<Line<Rc<Waiter>>>,
}

impl Gate {
    /// Before a backend with this load.
    pub fn new(load: Arc<Load>, capacity: Capacity) -> Self {
        Self { load, capacity: Cell::new(capacity), line: RefCell::default() }
    }

    /// Whether it is the gate of this load.
    pub fn is_of(&self, load: &Arc<Load>) -> bool {
        Arc::ptr_eq(&self.load, load)
    }

    /// From now on so many are let in.
    pub fn bound_by(&self, capacity: Capacity) {
        self.capacity.set(capacity);
        self.let_in(Line::look);
    }

    /// A permit at once, or nothing: then it counts among those who wait, and has to.
    fn enter(self: &Rc<Self>) -> Result<Option<Permit>, Shed> {
        match self.load.enter(self.most(), self.capacity.get().queue) {
            Entry::In => Ok(Some(self.permit())),
            Entry::Waits => Ok(None),
            Entry::Full => {
                self.load.overloaded.fetch_add(1, Relaxed);
                Err(Shed::Overloaded)
            }
        }
    }

    async fn wait(self: Rc<Self>, until: Instant) -> Result<Permit, Shed> {
        let place = Place::join(&self);
        // One may be free that was left to others who waited.
        self.let_in(Line::freed);
        loop {
            if place.waiter.granted.replace(false) {
                return Ok(self.permit());
            }
            let now = Instant::now();
            if now >= until {
                self.load.timed_out.fetch_add(1, Relaxed);
                return Err(Shed::QueueTimeout);
            }
            // The first looks for all.
            let wake = if place.is_first() { until.min(now + QUEUE_LOOK) } else { until };
            if timeout_at(wake, place.waiter.told.notified()).await.is_err() {
                self.let_in(Line::look);
            }
        }
    }

    fn permit(self: &Rc<Self>) -> Permit {
        let since = self.capacity.get().adaptive.then(Instant::now);
        Permit { gate: Rc::clone(self), since: Cell::new(since), paused: Cell::new(false) }
    }

    fn most(&self) -> usize {
        self.load.most(&self.capacity.get())
    }

    fn release(&self) {
        self.load.release();
        self.let_in(Line::freed);
    }

    /// Lets in whoever there is a place for.
    fn let_in(&self, next: Next) {
        let mut line = self.line.borrow_mut();
        let mut moved = false;
        while let Some(waiter) = next(&mut line, &self.load, self.most()) {
            waiter.granted.set(true);
            waiter.told.notify_one();
            moved = true;
        }
        if moved {
            tell_first(&line);
        }
    }
}

/// Whom a place goes to.
type Next = fn(&mut Line<Rc<Waiter>>, &Load, usize) -> Option<Rc<Waiter>>;

/// The right to one of a backend's places. Dropped, it is the next one's.
#[derive(Debug)]
pub struct Permit {
    gate: Rc<Gate>,
    /// When it was given, if it matters.
    since: Cell<Option<Instant>>,
    /// Whether somebody else may have the place.
    paused: Cell<bool>,
}

impl Permit {
    /// The backend has answered a request whose last byte had gone by `sent`.
    pub fn answered(&self, sent: Option<Instant>) {
        if let Some(took) = self.took(sent) {
            self.gate.load.answered(took);
        }
    }

    /// The backend has no answer, or none that it meant to give.
    pub fn unanswered(&self, sent: Option<Instant>) {
        if let Some(took) = self.took(sent) {
            self.gate.load.abandoned(took);
        }
    }

    /// The backend waits for the visitor: the place is another's.
    pub fn pauses(&self) {
        if !self.paused.replace(true) {
            self.gate.release();
        }
    }

    /// The backend has all of it, and works on it whether there is a place or not.
    pub fn resumes(&self) {
        if self.paused.replace(false) {
            self.gate.load.enter_anyway();
        }
    }

    /// Whether the place is another's.
    pub fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// How long it took, for once.
    fn took(&self, sent: Option<Instant>) -> Option<Duration> {
        let since = self.since.take()?;
        Some(sent.map_or(since, |sent| sent.max(since)).elapsed())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.paused.get() {
            self.gate.release();
        }
    }
}

/// Who waits.
#[derive(Debug, Default)]
struct Waiter {
    granted: Cell<bool>,
    told: Notify,
}

/// A place in the queue, given up when dropped.
struct Place<'a> {
    gate: &'a Gate,
    ticket: Ticket,
    waiter: Rc<Waiter>,
}

impl<'a> Place<'a> {
    fn join(gate: &'a Gate) -> Self {
        let waiter = Rc::<Waiter>::default();
        let now = gate.load.micros(Instant::now().into_std());
        let ticket = gate.line.borrow_mut().join(&gate.load, now, Rc::clone(&waiter));
        Self { gate, ticket, waiter }
    }

    fn is_first(&self) -> bool {
        self.gate.line.borrow().first().is_some_and(|(ticket, _)| ticket == self.ticket)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let was_first = self.is_first();
        let mut line = self.gate.line.borrow_mut();
        if line.leave(&self.gate.load, self.ticket) && was_first {
            tell_first(&line);
        }
        drop(line);
        // A place that it was given and never took.
        if self.waiter.granted.get() {
            self.gate.release();
        }
    }
}

/// The first looks for a place every few milliseconds; it has to know that it is.
fn tell_first(line: &Line<Rc<Waiter>>) {
    if let Some((_, first)) = line.first() {
        first.told.notify_one();
    }
}
