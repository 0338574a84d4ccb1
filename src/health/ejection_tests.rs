//! Ejections in simulated traffic, over many seeds: what must hold whatever endpoints do.

use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const RULES: Ejection =
    Ejection { after: 5, error_percent: 50, min_requests: 100, first: Duration::from_secs(10) };

/// One backend and its traffic: requests in turn to the usable endpoints, all where there is none.
struct World {
    random: fastrand::Rng,
    ejections: Ejections,
    seen: Vec<Seen>,
    /// How often each fails, from 0 to 1.
    faults: Vec<f64>,
    turn: usize,
    now: Duration,
}

impl World {
    fn new(seed: u64, endpoints: usize) -> Self {
        let seen = (0..endpoints).map(|at| Seen { id: at as u64 + 7, ..Seen::default() }).collect();
        let (ejections, faults) = (Ejections::default(), vec![0.0; endpoints]);
        let random = fastrand::Rng::with_seed(seed);
        let mut world = Self { random, ejections, seen, faults, turn: 0, now: SECOND };
        world.look(&RULES);
        world
    }

    fn is_usable(&self, at: usize) -> bool {
        !self.ejections.is_out(at) && !self.seen[at].down
    }

    fn usable(&self) -> usize {
        (0..self.seen.len()).filter(|at| self.is_usable(*at)).count()
    }

    fn request(&mut self) {
        let any = self.usable() > 0;
        loop {
            self.turn = (self.turn + 1) % self.seen.len();
            if !any || self.is_usable(self.turn) {
                break;
            }
        }
        let fails = self.random.f64() < self.faults[self.turn];
        let seen = &mut self.seen[self.turn];
        seen.answers += 1;
        seen.failures += u64::from(fails);
        seen.streak = if fails { seen.streak + 1 } else { 0 };
    }

    fn look(&mut self, rules: &Ejection) -> Vec<Verdict> {
        let before = self.seen.clone();
        let verdicts = self.ejections.look(rules, &self.seen, self.now);
        for verdict in &verdicts {
            match *verdict {
                Verdict::Ejected { at, cause, lasts } => {
                    assert!(lasts <= rules.most(), "{lasts:?}");
                    match cause {
                        Cause::Streak(streak) => {
                            assert!(streak >= rules.after && before[at].streak == streak);
                        }
                        Cause::Share(failures, answers) => assert!(
                            answers >= rules.min_requests
                                && failures * 100 >= answers * u64::from(rules.error_percent)
                        ),
                    }
                    self.seen[at].streak = 0;
                }
                Verdict::Readmitted { at } => self.seen[at].streak = 0,
            }
        }
        assert!(self.usable() > 0 || self.seen.iter().all(|seen| seen.down), "the last one was left out");
        verdicts
    }

    /// So much traffic, and then a look: at its second, or at once where an endpoint has had its fill.
    fn step(&mut self, rules: &Ejection, requests: usize) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for _ in 0..requests {
            self.request();
            if rules.after > 0 && self.seen[self.turn].streak == rules.after {
                verdicts.extend(self.look(rules));
            }
        }
        self.now += SECOND.mul_f64(0.9 + 0.3 * self.random.f64());
        verdicts.extend(self.look(rules));
        verdicts
    }
}

#[test]
fn whatever_endpoints_do_the_last_one_stays_and_who_is_good_comes_back() {
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xfeed);
        let rules = Ejection {
            after: random.u32(0..8),
            error_percent: random.u32(0..=100),
            min_requests: random.u64(1..200),
            first: Duration::from_millis(random.u64(10..20_000)),
        };
        let mut world = World::new(seed, random.usize(1..6));
        for _ in 0..120 {
            if random.u8(..8) == 0 {
                let at = random.usize(..world.seen.len());
                world.faults[at] = [0.0, 0.0, 0.1, 0.6, 1.0][random.usize(..5)];
            }
            if random.u8(..16) == 0 {
                let at = random.usize(..world.seen.len());
                world.seen[at].down = random.bool();
            }
            let requests = random.usize(..60);
            world.step(&rules, requests);
        }
        world.faults.fill(0.0);
        world.seen.iter_mut().for_each(|seen| seen.down = false);
        let good_since = world.now;
        while world.now <= good_since + rules.most() + 12 * SECOND {
            world.step(&rules, 20);
        }
        assert_eq!(world.usable(), world.seen.len(), "seed {seed}: who is good is let in again");
    }
}

#[test]
fn a_flood_of_failures_at_one_endpoint_leaves_the_others_alone() {
    for seed in 0..200 {
        let mut world = World::new(seed, 4);
        world.faults[2] = 1.0;
        let mut attempts = 0;
        for _ in 0..60 {
            let before = world.seen[2].answers;
            for verdict in world.step(&RULES, 200) {
                let (Verdict::Ejected { at, .. } | Verdict::Readmitted { at }) = verdict;
                assert_eq!(at, 2);
            }
            attempts += world.seen[2].answers - before;
        }
        assert!(attempts <= 5 * 5, "a dead endpoint gets few of 12000 requests, not {attempts}");
    }
}

/// The lengths of the ejections of the first endpoint while it fails whatever it is sent.
fn lengths(world: &mut World, count: usize) -> Vec<u64> {
    let mut lengths = Vec::new();
    while lengths.len() < count {
        lengths.extend(world.step(&RULES, 50).iter().filter_map(|verdict| match verdict {
            Verdict::Ejected { at: 0, lasts, .. } => Some(lasts.as_secs()),
            Verdict::Ejected { .. } | Verdict::Readmitted { .. } => None,
        }));
    }
    lengths
}

#[test]
fn ejections_grow_to_five_minutes_and_are_forgiven() {
    let mut world = World::new(1, 2);
    world.faults[0] = 1.0;
    assert_eq!(lengths(&mut world, 8), [10, 20, 40, 80, 160, 300, 300, 300]);
    world.faults[0] = 0.0;
    let good_since = world.now;
    // Left out for five minutes, then in for as long as each ejection that is forgiven.
    while world.now < good_since + Duration::from_secs(300 + 3 * 300 + 160 + 80 + 40 + 20 + 10 + 30) {
        world.step(&RULES, 10);
    }
    world.faults[0] = 1.0;
    assert_eq!(lengths(&mut world, 2), [10, 20]);
}

#[test]
fn a_bad_answer_now_and_then_ejects_nobody() {
    for seed in 0..200 {
        let mut world = World::new(seed, 2);
        for _ in 0..100 {
            // One of twenty, then nineteen good ones.
            world.faults.fill(1.0);
            assert_eq!(world.step(&RULES, 1), []);
            world.faults.fill(0.0);
            assert_eq!(world.step(&RULES, 19), []);
        }
    }
}

#[test]
fn a_share_of_failures_ejects_once_there_are_enough_answers() {
    let mut world = World::new(1, 2);
    let rules = Ejection { after: 0, ..RULES };
    world.faults[1] = 1.0;
    let mut ejected_at = None;
    for _ in 0..30 {
        let verdicts = world.step(&rules, 20);
        if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Ejected { at: 1, .. })) {
            ejected_at = Some(world.seen[1].answers);
            break;
        }
    }
    assert_eq!(ejected_at, Some(100), "ten requests a second each for ten seconds");
    let mut rare = World::new(1, 2);
    rare.faults[1] = 1.0;
    assert!((0..100).all(|_| rare.step(&rules, 8).is_empty()), "40 answers in ten seconds say nothing");
}

#[test]
fn the_only_endpoint_is_never_left_out_and_no_rules_leave_out_nobody() {
    let mut world = World::new(1, 1);
    world.faults[0] = 1.0;
    assert!((0..100).all(|_| world.step(&RULES, 100).is_empty()));
    let mut world = World::new(1, 3);
    world.faults.fill(1.0);
    let none = Ejection { after: 0, error_percent: 0, ..RULES };
    assert!((0..100).all(|_| world.step(&none, 100).is_empty()));
}

#[test]
fn who_is_left_out_comes_back_when_probes_take_out_the_rest() {
    let mut world = World::new(1, 2);
    world.faults[0] = 1.0;
    assert!(matches!(world.step(&RULES, 20)[..], [Verdict::Ejected { at: 0, .. }]));
    world.seen[1].down = true;
    assert_eq!(world.step(&RULES, 0), [Verdict::Readmitted { at: 0 }]);
    // And while its probes say that it is down, it isn't counted as the other's stand-in.
    world.seen[1].down = false;
    world.seen[0].down = true;
    world.faults[1] = 1.0;
    assert!(
        (0..20).all(|_| world.step(&RULES, 20).iter().all(|v| !matches!(v, Verdict::Ejected { at: 1, .. })))
    );
}

#[test]
fn endpoints_that_stay_keep_what_is_known_and_others_begin_anew() {
    let mut world = World::new(1, 3);
    world.faults[1] = 1.0;
    assert!(matches!(world.step(&RULES, 30)[..], [Verdict::Ejected { at: 1, .. }]));
    // The first goes, and a new one comes behind those that stay.
    world.seen.remove(0);
    world.seen.push(Seen { id: 99, ..Seen::default() });
    world.faults = vec![0.0; 3];
    world.step(&RULES, 0);
    assert_eq!([0, 1, 2].map(|at| world.ejections.is_out(at)), [true, false, false]);
}
