//! How one endpoint does, as workers count it and the control thread judges it: atomics, and nothing else.
//!
//! `upstream::endpoint` holds one; `upstream::pool` counts into it, the choice of an endpoint reads its marks with each
//! request, `health::watch` sets them. It must never be locked, nor be written by each request: answers come in
//! bundles, and streaks are written when they change.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use http::StatusCode;
use tokio::sync::Notify;

use crate::config::limits::health::EJECT_AFTER;

/// How one endpoint does.
#[derive(Debug)]
pub struct Vitals {
    /// Why it isn't to be used, if anything: [`Mark`]s. Zero for an endpoint that is.
    marks: AtomicU8,
    /// Gateway failures in a row.
    streak: AtomicU32,
    /// Connections in a row that failed.
    unreached: AtomicU32,
    answers: AtomicU64,
    failures: AtomicU64,
    /// What the last failure was.
    last: AtomicU16,
    /// How many in a row are enough; 0 for never.
    enough: AtomicU32,
    /// Told when the control thread should look at once.
    alarm: Arc<Notify>,
}

/// Why an endpoint isn't to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// Its probes say that it is down.
    Down = 1,
    /// It is left out for what requests met there.
    Ejected = 2,
    /// It can't be connected to, time and again.
    Unreached = 4,
}

/// How a gateway failed: by one of the proxy's reasons, or by a status. Both fit into a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How(u16);

impl How {
    /// By the reason at this place of the proxy's list.
    pub const fn by_reason(at: u8) -> Self {
        Self(at as u16)
    }

    /// By this status of an answer.
    pub fn by_status(status: StatusCode) -> Self {
        Self(status.as_u16())
    }

    /// In words, `reasons` being the proxy's list.
    pub fn shown(self, reasons: &[&str]) -> String {
        match reasons.get(usize::from(self.0)) {
            Some(reason) => (*reason).to_owned(),
            None => format!("answered {}", self.0),
        }
    }
}

impl Vitals {
    /// Of an endpoint of which nothing is known; `alarm` is told what shouldn't wait for the next look.
    pub fn new(alarm: Arc<Notify>) -> Self {
        Self {
            marks: AtomicU8::new(0),
            streak: AtomicU32::new(0),
            unreached: AtomicU32::new(0),
            answers: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last: AtomicU16::new(0),
            enough: AtomicU32::new(EJECT_AFTER),
            alarm,
        }
    }

    /// Whether requests should go there.
    pub fn is_usable(&self) -> bool {
        self.marks.load(Relaxed) == 0
    }

    /// Whether it is marked so.
    pub fn has(&self, mark: Mark) -> bool {
        self.marks.load(Relaxed) & mark as u8 != 0
    }

    /// Marks it, or takes the mark away; says whether that is news.
    pub fn mark(&self, mark: Mark, on: bool) -> bool {
        let bit = mark as u8;
        let before = if on { self.marks.fetch_or(bit, Relaxed) } else { self.marks.fetch_and(!bit, Relaxed) };
        (before & bit != 0) != on
    }

    /// A connection stands.
    pub fn reached(&self) {
        if self.unreached.load(Relaxed) != 0 {
            self.unreached.store(0, Relaxed);
            if self.has(Mark::Unreached) && self.mark(Mark::Unreached, false) {
                self.alarm.notify_one();
            }
        }
    }

    /// No connection could be had. It is a gateway failure too.
    pub fn unreached(&self, how: How) {
        self.failed(how);
        let enough = self.enough.load(Relaxed);
        let row = self.unreached.fetch_add(1, Relaxed).saturating_add(1);
        if enough > 0 && row >= enough && !self.has(Mark::Unreached) && self.mark(Mark::Unreached, true) {
            self.alarm.notify_one();
        }
    }

    /// So many answers came that are no gateway's failures.
    pub fn answered(&self, count: u32) {
        self.answers.fetch_add(u64::from(count), Relaxed);
    }

    /// The last answer was no gateway's failure.
    pub fn did_well(&self) {
        if self.streak.load(Relaxed) != 0 {
            self.streak.store(0, Relaxed);
        }
    }

    /// A gateway failure: no connection, no answer, or one that says so.
    pub fn failed(&self, how: How) {
        let How(number) = how;
        self.last.store(number, Relaxed);
        self.answers.fetch_add(1, Relaxed);
        self.failures.fetch_add(1, Relaxed);
        let row = self.streak.fetch_add(1, Relaxed).saturating_add(1);
        if row == self.enough.load(Relaxed) {
            self.alarm.notify_one();
        }
    }

    /// Gateway failures in a row, answers, and failures among them.
    pub fn counts(&self) -> (u32, u64, u64) {
        (self.streak.load(Relaxed), self.answers.load(Relaxed), self.failures.load(Relaxed))
    }

    /// What the last failure was.
    pub fn last_failure(&self) -> How {
        How(self.last.load(Relaxed))
    }

    /// Connections in a row that failed.
    pub fn unreached_in_a_row(&self) -> u32 {
        self.unreached.load(Relaxed)
    }

    /// What it did before counts no more.
    pub fn begin_anew(&self) {
        self.streak.store(0, Relaxed);
    }

    /// From now on so many in a row are enough; 0 for never.
    pub fn enough_are(&self, count: u32) {
        self.enough.store(count, Relaxed);
        if count == 0 {
            self.mark(Mark::Unreached, false);
        }
    }
}

impl Default for Vitals {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: How = How::by_reason(1);

    #[test]
    fn only_so_many_failed_connections_in_a_row_mark_it_and_one_that_stands_unmarks_it() {
        let vitals = Vitals::default();
        for _ in 0..3 {
            (1..EJECT_AFTER).for_each(|_| vitals.unreached(HOW));
            assert!(vitals.is_usable());
            vitals.reached();
        }
        (0..EJECT_AFTER).for_each(|_| vitals.unreached(HOW));
        assert!(vitals.has(Mark::Unreached) && !vitals.is_usable());
        vitals.reached();
        assert!(vitals.is_usable());
        vitals.enough_are(0);
        (0..100).for_each(|_| vitals.unreached(HOW));
        assert!(vitals.is_usable(), "never means never");
    }

    #[test]
    fn marks_stand_apart_and_tell_what_is_news() {
        let vitals = Vitals::default();
        assert!(vitals.mark(Mark::Down, true) && !vitals.mark(Mark::Down, true));
        assert!(vitals.mark(Mark::Ejected, true));
        assert!(vitals.mark(Mark::Down, false) && !vitals.is_usable() && vitals.has(Mark::Ejected));
        assert!(vitals.mark(Mark::Ejected, false) && vitals.is_usable());
    }

    #[test]
    fn a_streak_ends_with_an_answer_and_alarms_when_it_is_long() {
        let vitals = Vitals::default();
        (0..4).for_each(|_| vitals.failed(HOW));
        vitals.answered(10);
        vitals.did_well();
        assert_eq!(vitals.counts(), (0, 14, 4));
        (0..5).for_each(|_| vitals.failed(HOW));
        assert_eq!(vitals.counts(), (5, 19, 9));
        assert_eq!(vitals.last_failure().shown(&["tls", "reset"]), "reset");
        assert_eq!(How::by_status(StatusCode::BAD_GATEWAY).shown(&["tls", "reset"]), "answered 502");
        // The permit of `notify_one` is there.
        let mut told = std::pin::pin!(vitals.alarm.notified());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(told.as_mut().poll(&mut cx).is_ready());
    }
}
