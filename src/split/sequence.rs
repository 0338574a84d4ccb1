//! Exact splitting of requests that have no bucket: whose turn is it?
//!
//! Each worker has one [`Sequence`] a route, which `choose` asks for the next backend and which is carried
//! over to the next snapshot. It must never start anew because of a reload: at 1 %, reloads every 50 requests
//! would starve the smaller side for good. Nor may it draw at random, which at 1 % means 0 to 4 of 100.
//!
//! The rule is that of Tijdeman's chairman assignment: a backend's credit grows by its part with each request
//! and shrinks by a whole one when it is chosen. Chosen is, of those in credit, the one whose credit would be
//! the first to reach a whole request. While weights stay, credits stay between minus one and one request, so
//! that any run of requests is less than two away from the weights, and less than one with two backends.
//!
//! Credits outlive changes of weights. With two backends their bounds do, too. With more, what several are
//! owed at once may come due sooner than it can be served, and the last of them waits a little beyond its
//! turn: cutting its credit down would take the request from it that it is owed.

use crate::split::weights::{TOTAL, Weights};

/// A whole request in the unit of credits, which is that of parts.
const REQUEST: i64 = TOTAL as i64;

/// Whose turn it is, for one worker and route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// By position: what each backend is owed, in millionths of a request; they sum to zero.
    credits: Box<[i64]>,
    /// Where to start, in millionths of a turn; taken by the first request that two backends share.
    phase: Option<i64>,
}

impl Sequence {
    /// A new sequence for a route with so many backends. `phase` in 0.0..1.0 is the worker's place among the
    /// workers (index ÷ count), so that they don't all send their first 1 % at once.
    pub fn new(backends: usize, phase: f64) -> Self {
        // `as` saturates, and makes zero of what isn't a number.
        let phase = ((phase * f64::from(TOTAL)) as i64).clamp(0, REQUEST - 1);
        Self { credits: vec![0; backends].into(), phase: Some(phase) }
    }

    /// The position of the backend that serves the next request; `weights` has as many backends as the
    /// sequence.
    pub fn next(&mut self, weights: &Weights) -> usize {
        debug_assert_eq!(
            self.credits.len(),
            weights.len(),
            "carry the sequence when a route's backends change"
        );
        if let Some(phase) = self.phase {
            self.start(phase, weights);
        }
        match (weights.parts(), &mut *self.credits) {
            ([_], _) => 0,
            ([first, second], [a, b]) => {
                let (position, credit) = next_of_two(*a, i64::from(*first), i64::from(*second));
                (*a, *b) = (credit, -credit);
                position
            }
            (parts, credits) => next_of_many(credits, parts).unwrap_or(weights.stable()),
        }
    }

    /// The sequence after a change of the route's backends, with the credits of those that stay.
    /// `old_positions` has for each new position the old one, nothing for a backend that is new.
    pub fn carried(&self, old_positions: &[Option<usize>]) -> Self {
        let credit = |old: &Option<usize>| old.and_then(|old| self.credits.get(old).copied()).unwrap_or(0);
        let mut credits: Box<[i64]> = old_positions.iter().map(credit).collect();
        settle(&mut credits);
        Self { credits, phase: self.phase }
    }

    /// Puts the smaller backends `phase` of the way to their first turn, at the cost of the largest. Together
    /// they get less credit than one request of the largest: more would make several due at once, and one of
    /// them late.
    fn start(&mut self, phase: i64, weights: &Weights) {
        let parts = weights.parts();
        let Some(largest) = (0..parts.len()).max_by_key(|&position| parts[position]) else { return };
        let smaller = |position| position != largest && parts.get(position).is_some_and(|&part| part > 0);
        let count = (0..parts.len()).filter(|&position| smaller(position)).count() as i64;
        if count == 0 {
            // At 0 % there is nothing to start: the ramp begins later.
            return;
        }
        self.phase = None;
        let credit = phase * i64::from(parts[largest]) / REQUEST / count;
        for (position, held) in self.credits.iter_mut().enumerate() {
            if position == largest {
                *held = -credit * count;
            } else if smaller(position) {
                *held = credit;
            }
        }
    }
}

/// The rule for two backends by the first one's credit: the other's is its negative, and comparing deadlines
/// comes down to one comparison. Answers the position and the first one's credit afterwards.
fn next_of_two(credit: i64, first: i64, second: i64) -> (usize, i64) {
    let credit = credit + first;
    let chosen = credit >= second;
    let left = if chosen { credit - REQUEST } else { credit };
    // Where one has nothing, neither may keep a claim.
    (usize::from(!chosen), if first == 0 || second == 0 { 0 } else { left })
}

/// The rule for any number of backends; nothing only if the credits aren't those of the parts.
fn next_of_many(credits: &mut [i64], parts: &[u32]) -> Option<usize> {
    forfeit(credits, parts);
    let mut best: Option<(usize, i64, i64)> = None;
    for (position, (credit, &part)) in credits.iter_mut().zip(parts).enumerate() {
        let part = i64::from(part);
        *credit += part;
        let missing = REQUEST - *credit;
        // Whether missing ÷ part is the least: the first of equals wins.
        if *credit > 0 && best.is_none_or(|(_, least, of)| missing * of < least * part) {
            best = Some((position, missing, part));
        }
    }
    let (position, ..) = best?;
    credits[position] -= REQUEST;
    Some(position)
}

/// Takes the credit of backends with a part of zero, which must not be chosen for what they were once owed.
fn forfeit(credits: &mut [i64], parts: &[u32]) {
    let mut forfeited = false;
    for (credit, _) in credits.iter_mut().zip(parts).filter(|(credit, part)| **part == 0 && **credit != 0) {
        *credit = 0;
        forfeited = true;
    }
    if forfeited {
        settle(credits);
    }
}

/// Makes credits sum to zero again, by bringing those on the heavier side nearer to zero: none leaves its
/// bounds.
fn settle(credits: &mut [i64]) {
    let mut excess: i64 = credits.iter().sum();
    for credit in credits {
        let change = if excess > 0 { excess.min(*credit).max(0) } else { excess.max(*credit).min(0) };
        *credit -= change;
        excess -= change;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights(shares: &[f64]) -> Weights {
        Weights::new(shares, shares.len() - 1).unwrap()
    }

    fn take(sequence: &mut Sequence, weights: &Weights, count: usize) -> Vec<usize> {
        (0..count).map(|_| sequence.next(weights)).collect()
    }

    fn assert_bounds(sequence: &Sequence, most: i64) {
        assert_eq!(sequence.credits.iter().sum::<i64>(), 0, "{sequence:?}");
        assert!(sequence.credits.iter().all(|&credit| -REQUEST < credit && credit < most), "{sequence:?}");
    }

    /// How far any run of `length` may be from the weights, in millionths of a request.
    fn worst_run(turns: &[usize], weights: &Weights, length: usize) -> i64 {
        let off = |run: &[usize], position: usize, part: u32| {
            let count = run.iter().filter(|&&turn| turn == position).count() as i64;
            (count * REQUEST - i64::from(part) * run.len() as i64).abs()
        };
        let parts = || weights.parts().iter().enumerate();
        let runs = turns.windows(length);
        runs.flat_map(|run| parts().map(move |(position, &part)| off(run, position, part))).max().unwrap_or(0)
    }

    fn shares(backends: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
        let share = prop_oneof![Just(0.0), Just(1.0), 0.0..0.1, 0.0..100.0_f64];
        prop::collection::vec(share, backends)
            .prop_filter("a sum", |shares| shares.iter().sum::<f64>() > 1e-3)
    }

    #[test]
    fn a_hundred_thousand_requests_are_exact() {
        for candidate in [5.0, 1.0, 30.0, 0.0, 100.0, 0.1] {
            for (worker, stable) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
                let mut shares = [candidate; 2];
                shares[stable] = 100.0 - candidate;
                let weights = Weights::new(&shares, stable).unwrap();
                let turns = take(&mut Sequence::new(2, f64::from(worker) / 4.0), &weights, 100_000);
                let count = turns.iter().filter(|&&turn| turn != stable).count() as f64;
                assert!((count - candidate * 1000.0).abs() <= 1.0, "{count} of {candidate} %");
            }
        }
    }

    #[test]
    fn workers_send_their_first_percent_at_different_times_also_after_none() {
        let weights = Weights::new(&[99.0, 1.0], 0).unwrap();
        let first = |worker: u32| {
            let mut sequence = Sequence::new(2, f64::from(worker) / 4.0);
            take(&mut sequence, &Weights::new(&[1.0, 0.0], 0).unwrap(), 50);
            let turns = take(&mut sequence, &weights, 200);
            turns.iter().position(|&turn| turn == 1).unwrap()
        };
        let firsts: Vec<usize> = (0..4).map(first).collect();
        assert!(firsts.windows(2).all(|pair| pair[0] >= pair[1] + 20), "{firsts:?}");
    }

    #[test]
    fn half_and_half_alternate() {
        let turns = take(&mut Sequence::new(2, 0.0), &weights(&[1.0, 1.0]), 6);
        assert_eq!(turns, [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn strange_phases_and_single_backends_are_served() {
        for phase in [-1.0, 1.0, 7.0, f64::NAN, f64::INFINITY] {
            let mut sequence = Sequence::new(2, phase);
            assert!(
                worst_run(&take(&mut sequence, &weights(&[1.0, 99.0]), 500), &weights(&[1.0, 99.0]), 100)
                    <= REQUEST
            );
        }
        assert_eq!(take(&mut Sequence::new(1, 0.5), &weights(&[3.0]), 3), [0, 0, 0]);
    }

    #[test]
    fn a_reload_every_fifty_requests_starves_nobody() {
        let weights = weights(&[1.0, 99.0]);
        let mut sequence = Sequence::new(2, 0.0);
        let mut turns = Vec::new();
        for _ in 0..200 {
            turns.extend(take(&mut sequence, &weights, 50));
            sequence = sequence.carried(&[Some(0), Some(1)]);
        }
        assert_eq!(turns.iter().filter(|&&turn| turn == 0).count(), 100);
        assert!(worst_run(&turns, &weights, 100) <= REQUEST);
    }

    #[test]
    fn carrying_keeps_what_stays_and_forgets_the_rest() {
        let mut sequence = Sequence::new(3, 0.5);
        take(&mut sequence, &weights(&[1.0, 2.0, 7.0]), 17);
        let swapped = sequence.carried(&[Some(2), Some(0), Some(1)]);
        assert_eq!(*swapped.credits, [2, 0, 1].map(|old: usize| sequence.credits[old]));
        for positions in
            [&[Some(0), None][..], &[None, None], &[Some(9), Some(1), None, Some(2)], &[Some(1)], &[]]
        {
            let carried = sequence.carried(positions);
            assert_eq!(carried.credits.len(), positions.len());
            assert_bounds(&carried, REQUEST);
        }
    }

    proptest! {
        #[test]
        fn two_backends_are_within_one_in_every_run(
            candidate in 0..=TOTAL, phase in 0.0..1.0_f64, stable in 0..2usize,
        ) {
            let mut shares = [f64::from(candidate); 2];
            shares[stable] = f64::from(TOTAL - candidate);
            let weights = Weights::new(&shares, stable).unwrap();
            let turns = take(&mut Sequence::new(2, phase), &weights, 400);
            for length in [1, 7, 100, 399] {
                prop_assert!(worst_run(&turns, &weights, length) < REQUEST + 2);
            }
        }

        #[test]
        fn any_hundred_are_within_two_also_across_reloads(
            shares in shares(1..6), phase in 0.0..1.0_f64, reloads in prop::collection::vec(0..40usize, 20),
        ) {
            let weights = weights(&shares);
            let same: Vec<Option<usize>> = (0..shares.len()).map(Some).collect();
            let mut sequence = Sequence::new(shares.len(), phase);
            let mut turns = Vec::new();
            for requests in reloads {
                turns.extend(take(&mut sequence, &weights, requests));
                sequence = sequence.carried(&same);
            }
            turns.extend(take(&mut sequence, &weights, 100));
            prop_assert!(worst_run(&turns, &weights, 100) < 2 * REQUEST);
        }

        #[test]
        fn whatever_changes_nobody_is_served_without_weight_nor_kept_waiting(
            changes in prop::collection::vec((shares(4..5), 0..30usize), 1..20), phase in 0.0..1.0_f64,
        ) {
            let mut sequence = Sequence::new(4, phase);
            for (shares, requests) in changes {
                let weights = weights(&shares);
                for _ in 0..requests {
                    let position = sequence.next(&weights);
                    prop_assert!(weights.parts()[position] > 0);
                    assert_bounds(&sequence, 2 * REQUEST);
                    let mut held = weights.parts().iter().zip(&sequence.credits);
                    prop_assert!(held.all(|(&part, &credit)| part > 0 || credit == 0));
                }
                sequence = sequence.carried(&[Some(1), None, Some(0), Some(3)]);
                assert_bounds(&sequence, 2 * REQUEST);
            }
        }

        #[test]
        fn with_two_backends_any_hundred_after_a_change_are_within_two(
            changes in prop::collection::vec((shares(2..3), 0..150usize), 1..20), phase in 0.0..1.0_f64,
        ) {
            let mut sequence = Sequence::new(2, phase);
            for (shares, requests) in changes {
                let weights = weights(&shares);
                let turns = take(&mut sequence, &weights, requests);
                assert_bounds(&sequence, REQUEST);
                for length in [1, 10, 100] {
                    prop_assert!(worst_run(&turns, &weights, length) < 2 * REQUEST);
                }
            }
        }

        #[test]
        fn the_rule_for_two_is_the_rule_for_many(steps in prop::collection::vec((0..=TOTAL, 1..9usize), 1..40)) {
            let (mut two, mut many) = (0, [0, 0]);
            for (first, times) in steps {
                let parts = [first, TOTAL - first];
                for _ in 0..times {
                    let (position, credit) = next_of_two(two, i64::from(parts[0]), i64::from(parts[1]));
                    prop_assert_eq!(next_of_many(&mut many, &parts), Some(position));
                    prop_assert_eq!(many, [credit, -credit]);
                    two = credit;
                }
            }
        }
    }
}
