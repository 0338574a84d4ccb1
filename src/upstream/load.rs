//! Pure: what a backend carries over all workers: requests in flight, requests that wait, and how it answers.
//!
//! `snapshot::registry` has one for each name of a backend, `proxy::gate` counts in it, `control::adapting` moves the
//! bound that adapts, `telemetry` shows it. Each step is one atomic operation on one word, so that no bound is passed
//! between two threads. It must never be locked, nor know who waits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::config::limits::Capacity;

/// One backend's load. It outlives snapshots.
#[derive(Debug)]
pub struct Load {
    /// [`Count`].
    word: AtomicU64,
    /// The bound that adapts.
    bound: AtomicU32,
    /// Since when the first waits of all who wait, as far as told, in microseconds since `born`.
    eldest: AtomicU64,
    /// [`Answers`] since the last look.
    answers: AtomicU64,
    /// From when on an answer is late, in microseconds.
    late: AtomicU64,
    born: Instant,
    /// Requests that were shed since then: at once, and after their time in the queue.
    pub overloaded: AtomicU64,
    /// See [`overloaded`](Self::overloaded).
    pub timed_out: AtomicU64,
}

/// What comes of a request that wants to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is in flight.
    In,
    /// It waits.
    Waits,
    /// There is no room to wait.
    Full,
}

impl Load {
    /// Of nothing yet.
    pub fn new(born: Instant) -> Self {
        let zero = || AtomicU64::new(0);
        let never = || AtomicU64::new(u64::MAX);
        let (bound, eldest, late) = (AtomicU32::new(u32::MAX), never(), never());
        let (answers, overloaded, timed_out) = (zero(), zero(), zero());
        Self { word: zero(), bound, eldest, answers, late, born, overloaded, timed_out }
    }

    /// One more request. Where others wait, on whatever worker, it doesn't overtake them.
    pub fn enter(&self, most: usize, queue: usize) -> Entry {
        let mut entry = Entry::Full;
        // A refused step leaves the word as it is.
        let _ = self.step(|Count { in_flight, waiting }| {
            if waiting == 0 && is_below(in_flight, most) {
                entry = Entry::In;
                Some(Count { in_flight: in_flight + 1, waiting })
            } else if is_below(waiting, queue) {
                entry = Entry::Waits;
                Some(Count { in_flight, waiting: waiting + 1 })
            } else {
                entry = Entry::Full;
                None
            }
        });
        entry
    }

    /// One that has left is in flight again, be there a place or not.
    pub fn enter_anyway(&self) {
        self.word.fetch_add(1, Relaxed);
    }

    /// One that waited is in flight, if there is a place.
    pub fn take(&self, most: usize) -> bool {
        self.step(|Count { in_flight, waiting }| {
            is_below(in_flight, most).then(|| Count { in_flight: in_flight + 1, waiting: waiting - 1 })
        })
    }

    /// One that waited waits no more.
    pub fn give_up(&self) {
        self.step(|Count { in_flight, waiting }| Some(Count { in_flight, waiting: waiting - 1 }));
    }

    /// One that was in flight has ended.
    pub fn release(&self) {
        // The lower half, which is not empty: it counts whoever calls.
        self.word.fetch_sub(1, Relaxed);
    }

    /// What there is now.
    pub fn count(&self) -> Count {
        Count::of(self.word.load(Relaxed))
    }

    /// How many may be in flight now.
    pub fn most(&self, capacity: &Capacity) -> usize {
        if capacity.adaptive { capacity.in_flight.min(self.bound()) } else { capacity.in_flight }
    }

    /// The bound that adapts; the greatest number where it doesn't.
    pub fn bound(&self) -> usize {
        self.bound.load(Relaxed) as usize
    }

    /// Moves the bound that adapts.
    pub fn bound_to(&self, bound: usize) {
        self.bound.store(u32::try_from(bound).unwrap_or(u32::MAX), Relaxed);
    }

    /// The time that `now` is here.
    pub fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_micros()).unwrap_or(u64::MAX - 1)
    }

    /// Since when the first of all waits, as far as told.
    pub fn eldest(&self) -> Option<u64> {
        Some(self.eldest.load(Relaxed)).filter(|&since| since != u64::MAX)
    }

    /// Somebody waits since then. Told again and again: another may have said that nobody does.
    pub fn tell(&self, since: u64) {
        if since < self.eldest.load(Relaxed) {
            self.eldest.fetch_min(since, Relaxed);
        }
    }

    /// Who waited since then doesn't any more.
    pub fn forget(&self, since: u64) {
        // If it is another's, that one's word stands.
        let _ = self.eldest.compare_exchange(since, u64::MAX, Relaxed, Relaxed);
    }

    /// An answer's head came so long after its request had gone.
    pub fn answered(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(Answers::LONGEST);
        self.answers.fetch_add(Answers::ONE + micros, Relaxed);
    }

    /// From now on an answer is late that takes longer.
    pub fn late_after(&self, time: Duration) {
        self.late.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Nobody waits any more for an answer that hasn't come for so long. Sooner than usual, that says nothing; else it
    /// counts as much too late, since nobody will ever know.
    pub fn abandoned(&self, took: Duration) {
        let late = Duration::from_micros(self.late.load(Relaxed));
        if took > late / 2 {
            self.answered(took.max(late * 2));
        }
    }

    /// The answers since the last look.
    pub fn look(&self) -> Answers {
        Answers::of(self.answers.swap(0, Relaxed))
    }

    fn step(&self, mut step: impl FnMut(Count) -> Option<Count>) -> bool {
        let word = |word| step(Count::of(word)).map(Count::word);
        self.word.fetch_update(Relaxed, Relaxed, word).is_ok()
    }
}

/// How many requests there are at a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// It works on so many,
    pub in_flight: u32,
    /// and so many wait for it.
    pub waiting: u32,
}

impl Count {
    fn of(word: u64) -> Self {
        let [waiting, in_flight] = [word >> 32, word & u64::from(u32::MAX)].map(|half| half as u32);
        Self { in_flight, waiting }
    }

    fn word(self) -> u64 {
        u64::from(self.waiting) << 32 | u64::from(self.in_flight)
    }
}

/// Answers of some time: how many, and how long they took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// How many.
    pub count: u32,
    /// How long all of them took, in microseconds.
    pub micros: u64,
}

impl Answers {
    /// The upper 20 bits count, the lower 44 hold microseconds: a million answers of 17 s each between two looks.
    const ONE: u64 = 1 << 44;
    /// What one answer counts at most, in microseconds.
    const LONGEST: u64 = 16_000_000;

    fn of(word: u64) -> Self {
        Self { count: (word >> 44) as u32, micros: word & (Self::ONE - 1) }
    }
}

fn is_below(count: u32, most: usize) -> bool {
    (count as usize) < most
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn load() -> Load {
        Load::new(Instant::now())
    }

    #[test]
    fn requests_fill_the_places_then_the_queue_and_then_none() {
        let load = load();
        let entries: Vec<Entry> = (0..5).map(|_| load.enter(2, 1)).collect();
        assert_eq!(entries, [Entry::In, Entry::In, Entry::Waits, Entry::Full, Entry::Full]);
        assert!(!load.take(2), "there is no place yet");
        load.release();
        assert_eq!(load.enter(2, 1), Entry::Full, "a free place is for who waits");
        assert!(load.take(2));
        assert_eq!(load.count(), Count { in_flight: 2, waiting: 0 });
        // A bound that goes down lets nobody in until enough have ended.
        load.release();
        assert_eq!((load.enter(1, 1), load.take(1)), (Entry::Waits, false));
        load.give_up();
        load.release();
        assert_eq!(load.count(), Count { in_flight: 0, waiting: 0 });
        // What comes back fills its place, and more than there is.
        (0..2).for_each(|_| load.enter_anyway());
        assert_eq!((load.count().in_flight, load.enter(1, 0)), (2, Entry::Full));
        (0..2).for_each(|_| load.release());
        assert_eq!((load.enter(1, 0), load.enter(1, 0)), (Entry::In, Entry::Full), "no queue at all");
    }

    #[test]
    fn no_bound_is_passed_between_threads_and_all_counts_return() {
        let (most, queue) = (3, 4);
        let load = Arc::new(load());
        let threads = (0..4).map(|_| {
            let load = Arc::clone(&load);
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    let held = match load.enter(most, queue) {
                        Entry::In => true,
                        Entry::Waits => {
                            let taken = load.take(most);
                            if !taken {
                                load.give_up();
                            }
                            taken
                        }
                        Entry::Full => false,
                    };
                    let Count { in_flight, waiting } = load.count();
                    assert!(in_flight <= 3 && waiting <= 4, "{in_flight} and {waiting}");
                    if held {
                        load.release();
                    }
                }
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(load.count(), Count { in_flight: 0, waiting: 0 });
    }

    #[test]
    fn answers_are_summed_up_until_somebody_looks() {
        let load = load();
        load.answered(Duration::from_millis(3));
        load.answered(Duration::from_hours(1));
        assert_eq!(load.look(), Answers { count: 2, micros: 3000 + Answers::LONGEST });
        load.abandoned(Duration::from_secs(9));
        load.late_after(Duration::from_secs(1));
        load.abandoned(Duration::from_millis(499));
        assert_eq!(load.look(), Answers { count: 0, micros: 0 });
        load.abandoned(Duration::from_millis(600));
        assert_eq!(load.look(), Answers { count: 1, micros: 2_000_000 });
    }

    #[test]
    fn the_eldest_is_the_first_until_it_leaves() {
        let load = load();
        load.tell(7);
        load.tell(5);
        load.forget(7);
        assert_eq!(load.eldest(), Some(5));
        load.forget(5);
        assert_eq!(load.eldest(), None);
    }
}
