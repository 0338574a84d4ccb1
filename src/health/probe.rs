//! Pure: whether an endpoint is up by what its probes say: so many bad ones in a row take it out, so many good ones
//! bring it back.
//!
//! `prober` feeds it. It must never let one answer decide where more are asked for.

use std::time::Duration;

use crate::config::health::Probe;
use crate::config::limits::health::PROBE_JITTER;

/// What the probes of one endpoint have said so far. It is up until they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Course {
    down: bool,
    /// Probes in a row that contradict it.
    against: u32,
}

impl Course {
    /// One that goes on from what was known before.
    pub fn from_before(down: bool) -> Self {
        Self { down, against: 0 }
    }

    /// Hears one probe; says whether it turns.
    pub fn hear(&mut self, good: bool, probe: &Probe) -> bool {
        if good != self.down {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let turns = self.against >= if self.down { probe.rise } else { probe.fall };
        if turns {
            *self = Self { down: !self.down, against: 0 };
        }
        turns
    }

    /// Whether it is down.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// How long to wait for the next probe, `chance` being from 0 to 1: a quarter of the interval while in doubt.
    pub fn pause(&self, probe: &Probe, chance: f64) -> Duration {
        let interval = if self.against > 0 { probe.interval / 4 } else { probe.interval };
        interval.mul_f64(1.0 + PROBE_JITTER * (2.0 * chance - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(rise: u32, fall: u32) -> Probe {
        Probe { rise, fall, ..Probe::of("/up".parse().unwrap()) }
    }

    /// What each of `answers` makes of it: `+` good, `-` bad; `u` up, `d` down.
    fn course(probe: &Probe, answers: &str) -> String {
        let mut course = Course::default();
        let state = |answer| {
            course.hear(answer == '+', probe);
            if course.is_down() { 'd' } else { 'u' }
        };
        answers.chars().map(state).collect()
    }

    #[test]
    fn so_many_in_a_row_turn_it_and_fewer_never() {
        for (rise, fall, answers, states) in [
            (2, 3, "---++", "uuddu"),
            (2, 3, "--+--+---", "uuuuuuuud"),
            (2, 3, "---+-+-++", "uuddddddu"),
            (1, 1, "-+-+", "dudu"),
        ] {
            assert_eq!(course(&probe(rise, fall), answers), states, "{answers}");
        }
    }

    #[test]
    fn of_any_answers_only_a_whole_run_turns_it() {
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let probe = probe(random.u32(1..5), random.u32(1..5));
            let mut course = Course::default();
            let mut run = (true, 0);
            for _ in 0..200 {
                let good = random.u8(..10) < 6;
                run = if run.0 == good { (good, run.1 + 1) } else { (good, 1) };
                let (before, turned) = (course.is_down(), course.hear(good, &probe));
                assert_eq!(turned, before != course.is_down());
                let wanted = if good { probe.rise } else { probe.fall };
                assert!(!turned || run.1 >= wanted, "seed {seed}: it turned after {run:?}");
                assert!(run.1 < wanted || course.is_down() != good, "seed {seed}: {run:?} didn't turn it");
            }
        }
    }

    #[test]
    fn pauses_lie_around_the_interval_and_are_short_while_in_doubt() {
        let probe = probe(2, 3);
        let mut course = Course::default();
        let pauses = |course: &Course| [0.0, 0.5, 1.0].map(|chance| course.pause(&probe, chance).as_millis());
        assert_eq!(pauses(&course), [9_000, 10_000, 11_000]);
        course.hear(false, &probe);
        assert_eq!(pauses(&course), [2_250, 2_500, 2_750]);
        course.hear(true, &probe);
        assert_eq!(pauses(&course), [9_000, 10_000, 11_000]);
    }
}
