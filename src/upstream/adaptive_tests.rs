//! Simulated backends: so many requests at a time at their own speed, the others wait inside.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use super::*;
use crate::config::limits::overload::ADAPTIVE_LOOK;
use crate::upstream::load::Load;

const SECOND: u64 = 1_000_000;

/// One backend behind one gate, in microseconds.
struct World {
    random: fastrand::Rng,
    load: Load,
    adaptive: Adaptive,
    most: usize,
    in_flight: usize,
    bound: usize,
    /// How long anybody waits in all; the backend works on what they have left behind.
    patience: u64,
    /// Who is in flight, and when they will have lost patience, since when.
    present: VecDeque<(u64, u64)>,
    /// Who waits before the gate, since when.
    queue: VecDeque<u64>,
    /// Who waits in the backend, since when it was sent there.
    inside: VecDeque<u64>,
    /// Who is worked on: until when, since when it was sent.
    working: BinaryHeap<Reverse<(u64, u64)>>,
    servers: usize,
    service: u64,
    now: u64,
    next_look: u64,
    next_arrival: u64,
    seen: Seen,
}

/// What was seen since somebody looked.
#[derive(Debug, Default)]
struct Seen {
    /// How long answers took, in seconds.
    took: Vec<f64>,
    shed: usize,
    bounds: Vec<usize>,
}

impl Seen {
    fn p99(&mut self) -> f64 {
        self.took.sort_by(f64::total_cmp);
        self.took[self.took.len() * 99 / 100]
    }

    fn extent(&self) -> (usize, usize) {
        (self.bounds.iter().copied().min().unwrap(), self.bounds.iter().copied().max().unwrap())
    }
}

impl World {
    fn new(seed: u64, servers: usize, service: u64, most: usize) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            load: Load::new(Instant::now()),
            adaptive: Adaptive::new(),
            most,
            in_flight: 0,
            bound: most.min(ADAPTIVE_START as usize),
            patience: u64::MAX / 2,
            present: VecDeque::new(),
            queue: VecDeque::new(),
            inside: VecDeque::new(),
            working: BinaryHeap::new(),
            servers,
            service,
            now: 0,
            next_look: 0,
            next_arrival: 0,
            seen: Seen::default(),
        }
    }

    /// Of exponential distribution, as arrivals and times of work are.
    fn about(&mut self, mean: u64) -> u64 {
        (-(1.0 - self.random.f64()).ln() * mean as f64) as u64
    }

    /// So many requests a second for so many seconds; what was seen of them.
    fn run(&mut self, rate: u64, seconds: u64) -> Seen {
        self.seen = Seen::default();
        let end = self.now + seconds * SECOND;
        self.next_arrival = self.now;
        while self.now < end {
            let done = self.working.peek().map_or(u64::MAX, |Reverse((until, _))| *until);
            self.now = self.next_look.min(self.next_arrival).min(done);
            if self.now == done {
                self.done();
            } else if self.now == self.next_look {
                self.look();
            } else {
                self.next_arrival += self.about(SECOND / rate).max(1);
                match self.queue.len() < 256 {
                    true => self.queue.push_back(self.now),
                    false => self.seen.shed += 1,
                }
            }
            self.let_in();
        }
        std::mem::take(&mut self.seen)
    }

    fn look(&mut self) {
        self.next_look += ADAPTIVE_LOOK.as_micros() as u64;
        let (now, answers) = (Duration::from_micros(self.now), self.load.look());
        self.bound = self.adaptive.look(now, answers, self.in_flight as u32, self.most);
        self.adaptive.late_after().into_iter().for_each(|time| self.load.late_after(time));
        self.seen.bounds.push(self.bound);
    }

    fn done(&mut self) {
        let Some(Reverse((_, sent))) = self.working.pop() else { return };
        // Who has gone isn't there any more; no two are sent at the same moment.
        let Some(at) = self.present.iter().position(|(_, since)| *since == sent) else { return };
        self.present.remove(at);
        self.in_flight -= 1;
        let took = Duration::from_micros(self.now - sent);
        self.load.answered(took);
        self.seen.took.push(took.as_secs_f64());
    }

    fn let_in(&mut self) {
        while self.present.front().is_some_and(|(until, _)| *until <= self.now) {
            let gone = self.present.pop_front().map_or(0, |(_, since)| since);
            self.load.abandoned(Duration::from_micros(self.now - gone));
            self.in_flight -= 1;
        }
        let most = (5 * SECOND).min(self.patience / 10 * 6);
        while self.queue.front().is_some_and(|since| self.now - since > most) {
            self.queue.pop_front();
            self.seen.shed += 1;
        }
        while self.in_flight < self.bound
            && let Some(came) = self.queue.pop_front()
        {
            self.now += 1;
            self.in_flight += 1;
            self.present.push_back((came + self.patience, self.now));
            self.inside.push_back(self.now);
        }
        while self.working.len() < self.servers
            && let Some(sent) = self.inside.pop_front()
        {
            let work = self.about(self.service);
            self.working.push(Reverse((self.now + work, sent)));
        }
    }
}

#[test]
fn a_backend_at_half_its_speed_gets_less_within_seconds_and_all_again_when_it_recovers() {
    for seed in 0..200 {
        let mut world = World::new(seed, 40, 100_000, 1024);
        // 400 a second is what it can.
        let mut calm = world.run(300, 10);
        assert!(calm.p99() < 1.0, "seed {seed}");
        assert_eq!(calm.shed, 0, "seed {seed}");
        world.servers = 20;
        world.run(300, 5);
        let mut slow = world.run(300, 15);
        let (least, greatest) = slow.extent();
        assert!(least >= 8 && greatest <= 150, "seed {seed}: {least} to {greatest}");
        assert!(slow.took.len() > 15 * 200 * 85 / 100, "seed {seed}: {} of 3000", slow.took.len());
        assert!(slow.p99() < 1.2, "seed {seed}: {}", slow.p99());
        world.servers = 40;
        world.run(300, 5);
        let mut again = world.run(300, 10);
        assert!(again.took.len() > 10 * 300 * 9 / 10 && again.shed == 0, "seed {seed}: {}", again.shed);
        assert!(again.p99() < 1.0, "seed {seed}: {}", again.p99());
    }
}

#[test]
fn a_stampede_from_the_first_moment_is_answered_at_full_speed_and_in_time() {
    for seed in 0..200 {
        let mut world = World::new(seed, 20, 50_000, 1024);
        world.run(1200, 45);
        let mut seen = world.run(1200, 10);
        assert!(seen.took.len() > 10 * 400 * 9 / 10, "seed {seed}: {} of 4000", seen.took.len());
        let (least, greatest) = seen.extent();
        assert!(least >= 8 && greatest <= 200, "seed {seed}: {least} to {greatest}");
        assert!(seen.p99() < 0.8, "seed {seed}: {}", seen.p99());
    }
}

/// A backend of five workers, asked three times what it can, by people who give up after a second.
#[test]
fn who_gives_up_says_that_it_takes_too_long() {
    for seed in 0..100 {
        let mut world = World::new(seed, 5, 50_000, 1024);
        world.patience = SECOND;
        world.run(300, 15);
        let seen = world.run(300, 10);
        assert!(seen.took.len() > 10 * 100 * 7 / 10, "seed {seed}: {} of 1000", seen.took.len());
    }
}

#[test]
fn little_traffic_leaves_room_for_much_however_uneven_its_answers_are() {
    for seed in 0..200 {
        let mut world = World::new(seed, 1000, 200_000, 1024);
        for _ in 0..20 {
            world.service = if world.random.bool() { 20_000 } else { 2_000_000 };
            assert_eq!(world.run(1, 5).shed, 0, "seed {seed}");
        }
        world.service = 100_000;
        let burst = world.run(200, 10);
        assert!(burst.took.len() > 1600, "seed {seed}: {} served, {} shed", burst.took.len(), burst.shed);
        let later = world.run(200, 10);
        assert!(later.shed < 100, "seed {seed}: {} served, {} shed", later.took.len(), later.shed);
    }
}

#[test]
fn a_backend_that_is_slower_by_itself_is_asked_as_much_as_before() {
    for seed in 0..200 {
        let mut world = World::new(seed, 1000, 50_000, 1024);
        world.run(400, 10);
        world.service = 200_000;
        world.run(400, 20);
        let seen = world.run(400, 10);
        assert!(
            seen.took.len() > 3800 && seen.shed == 0,
            "seed {seed}: {} and {}",
            seen.took.len(),
            seen.shed
        );
    }
}

#[test]
fn the_bound_stays_between_its_least_and_its_most() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut adaptive, mut now) = (Adaptive::new(), Duration::ZERO);
        for _ in 0..500 {
            now += Duration::from_millis(random.u64(1..2000));
            let count = random.u32(..50);
            let answers = Answers { count, micros: u64::from(count) * random.u64(..20_000_000) };
            let most = random.usize(1..100);
            let bound = adaptive.look(now, answers, random.u32(..200), most);
            assert!(
                (most.min(ADAPTIVE_LEAST as usize)..=most).contains(&bound),
                "seed {seed}: {bound} of {most}"
            );
        }
    }
}
