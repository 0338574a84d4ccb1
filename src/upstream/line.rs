//! Pure: one worker's queue before one backend, and when its first is let in.
//!
//! `proxy::gate` calls it with the load that all workers share. First come, first served on one worker; between
//! workers, about so: whose first has waited for much less leaves a free place to the other. Nobody may be forgotten
//! here: a place that is left is looked for again, by everybody who waits.

use std::collections::BTreeMap;

use crate::config::limits::overload::{QUEUE_LENIENCE, QUEUE_PASSES};
use crate::upstream::load::Load;

/// A place in the queue.
pub type Ticket = u64;

/// Those who wait on one worker; `W` is how one of them is told.
#[derive(Debug)]
pub struct Line<W> {
    waiting: BTreeMap<Ticket, (u64, W)>,
    next: Ticket,
    passes: u8,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), next: 0, passes: 0 }
    }
}

impl<W> Line<W> {
    /// One more waits, from `now` on. It counts in `load` already.
    pub fn join(&mut self, load: &Load, now: u64, who: W) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        if self.waiting.is_empty() {
            load.tell(now);
        }
        self.waiting.insert(ticket, (now, who));
        ticket
    }

    /// One gives up; says whether it still waited.
    pub fn leave(&mut self, load: &Load, ticket: Ticket) -> bool {
        let Some((since, _)) = self.waiting.remove(&ticket) else { return false };
        self.passed_by(load, since);
        load.give_up();
        true
    }

    /// Whom a place that has just become free on this worker goes to.
    pub fn freed(&mut self, load: &Load, most: usize) -> Option<W> {
        if self.another_is_first(load) { None } else { self.take(load, most) }
    }

    /// Whom a place goes to that has become free somewhere, as far as one is; asked every few milliseconds.
    pub fn look(&mut self, load: &Load, most: usize) -> Option<W> {
        let (since, _) = self.waiting.first_key_value()?.1;
        load.tell(*since);
        if self.another_is_first(load) && self.passes < QUEUE_PASSES {
            self.passes += 1;
            return None;
        }
        self.take(load, most)
    }

    /// Who is the first, with its ticket.
    pub fn first(&self) -> Option<(Ticket, &W)> {
        self.waiting.first_key_value().map(|(ticket, (_, who))| (*ticket, who))
    }

    fn another_is_first(&self, load: &Load) -> bool {
        let lenience = u64::try_from(QUEUE_LENIENCE.as_micros()).unwrap_or(u64::MAX);
        let own = self.waiting.first_key_value().map(|(_, (since, _))| *since);
        let eldest = load.eldest();
        own.zip(eldest).is_some_and(|(own, eldest)| eldest.saturating_add(lenience) < own)
    }

    fn take(&mut self, load: &Load, most: usize) -> Option<W> {
        if self.waiting.is_empty() || !load.take(most) {
            return None;
        }
        self.passes = 0;
        let (_, (since, who)) = self.waiting.pop_first()?;
        self.passed_by(load, since);
        Some(who)
    }

    fn passed_by(&self, load: &Load, since: u64) {
        load.forget(since);
        if let Some((_, (since, _))) = self.waiting.first_key_value() {
            load.tell(*since);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::limits::overload::QUEUE_LOOK;
    use crate::upstream::load::{Count, Entry};

    /// Several workers before one backend. `W` is when somebody came.
    struct World {
        load: Load,
        lines: Vec<Line<u64>>,
        /// How many each worker has in flight.
        in_flight: Vec<usize>,
        most: usize,
        now: u64,
        /// How long each waited who was let in, by worker.
        waits: Vec<Vec<u64>>,
        last_in: Vec<u64>,
    }

    impl World {
        fn new(workers: usize, most: usize) -> Self {
            let lines = (0..workers).map(|_| Line::default()).collect();
            let (waits, last_in) = (vec![Vec::new(); workers], vec![0; workers]);
            let load = Load::new(Instant::now());
            Self { load, lines, in_flight: vec![0; workers], most, now: 0, waits, last_in }
        }

        fn arrive(&mut self, worker: usize, queue: usize) -> Entry {
            let entry = self.load.enter(self.most, queue);
            match entry {
                Entry::In => self.is_in(worker, self.now),
                Entry::Waits => {
                    self.now += 1;
                    self.lines[worker].join(&self.load, self.now, self.now);
                    let next = self.lines[worker].freed(&self.load, self.most);
                    next.into_iter().for_each(|came| self.is_in(worker, came));
                }
                Entry::Full => {}
            }
            entry
        }

        fn is_in(&mut self, worker: usize, came: u64) {
            self.in_flight[worker] += 1;
            assert!(self.in_flight.iter().sum::<usize>() <= self.most, "the bound is passed");
            assert!(self.last_in[worker] <= came, "somebody overtook on a worker");
            self.last_in[worker] = came;
            self.waits[worker].push(self.now - came);
        }

        fn end(&mut self, worker: usize) {
            self.in_flight[worker] -= 1;
            self.load.release();
            while let Some(came) = self.lines[worker].freed(&self.load, self.most) {
                self.is_in(worker, came);
            }
        }

        fn hang_up(&mut self, worker: usize, nth: usize) {
            let ticket = self.lines[worker].waiting.keys().nth(nth).copied();
            ticket.into_iter().for_each(|ticket| assert!(self.lines[worker].leave(&self.load, ticket)));
        }

        fn look(&mut self) {
            self.now += QUEUE_LOOK.as_micros() as u64;
            for worker in 0..self.lines.len() {
                while let Some(came) = self.lines[worker].look(&self.load, self.most) {
                    self.is_in(worker, came);
                }
            }
        }

        fn waiting(&self) -> usize {
            self.lines.iter().map(|line| line.waiting.len()).sum()
        }

        fn check(&self) {
            let (in_flight, waiting) = (self.in_flight.iter().sum::<usize>() as u32, self.waiting() as u32);
            assert_eq!(self.load.count(), Count { in_flight, waiting });
        }
    }

    #[test]
    fn whatever_happens_the_bound_holds_the_order_stands_and_everybody_is_served() {
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let workers = random.usize(1..5);
            let mut world = World::new(workers, random.usize(1..8));
            let queue = random.usize(0..20);
            for _ in 0..400 {
                let worker = random.usize(..workers);
                match random.u8(..100) {
                    0..45 => {
                        let before = world.waiting();
                        let entry = world.arrive(worker, queue);
                        assert!(entry != Entry::Waits || before < queue, "seed {seed}: the queue is passed");
                    }
                    45..80 if world.in_flight[worker] > 0 => world.end(worker),
                    80..88 => world.hang_up(worker, random.usize(..20)),
                    // Not below what is in flight: that is looked at in the test of the load.
                    88..90 => world.most = random.usize(1..8).max(world.in_flight.iter().sum()),
                    _ => world.look(),
                }
                world.check();
            }
            for _ in 0..=QUEUE_PASSES {
                world.look();
            }
            let free = world.in_flight.iter().sum::<usize>() < world.most;
            assert!(!free || world.waiting() == 0, "seed {seed}: a place lies idle, and somebody waits");
            while world.in_flight.iter().any(|&count| count > 0) {
                (0..workers).for_each(|worker| (0..world.in_flight[worker]).for_each(|_| world.end(worker)));
                (0..=QUEUE_PASSES).for_each(|_| world.look());
            }
            assert_eq!((world.waiting(), world.load.eldest()), (0, None), "seed {seed}");
            world.check();
        }
    }

    #[test]
    fn a_worker_without_a_place_of_its_own_gets_one_from_a_busy_one() {
        let mut world = World::new(2, 4);
        // Everything is the first worker's, whose queue never ends.
        for _ in 0..20 {
            world.arrive(0, 1000);
        }
        world.arrive(1, 1000);
        let began = world.now;
        while world.waits[1].is_empty() {
            for _ in 0..2 {
                if world.in_flight[0] > 0 {
                    world.end(0);
                }
                world.arrive(0, 1000);
            }
            world.look();
            let waited = Duration::from_micros(world.now - began);
            assert!(waited < Duration::from_millis(200), "it waits for {waited:?}");
        }
        let longest = world.waits[0].iter().max().copied().unwrap_or(0);
        assert!(world.waits[1][0] <= longest + 40_000, "{} beside {longest}", world.waits[1][0]);
    }
}
