//! The shares of a route's backends, and the borders they draw between buckets.
//!
//! `config` and the control thread build [`Weights`], `choose` reads them for every request. They are always
//! whole: integers that sum to [`TOTAL`]. They must never depend on anything but the shares and the stable
//! backend's place, so that every instance and every version draws the same borders.

use crate::split::bucket::{BUCKETS, Bucket};

/// What the parts of a split sum to: a part is a millionth of the requests.
pub const TOTAL: u32 = 1_000_000;

/// The most backends a route may split over: more than two are rare, and each costs a comparison per request.
pub const MOST_BACKENDS: usize = 64;

/// How a route's requests are shared out, by position in the route's list of backends.
///
/// **Parts** are millionths. A share below half a millionth of the sum may come to none.
///
/// **Borders**: the buckets 0..10 000 belong to the backends that aren't stable, in order of position, and
/// what is left to stable, at the upper end. A border is the running sum of the parts rounded to the nearest
/// bucket (half up), so that each backend is within one bucket (0.01 %) of its part, the backends together
/// have every bucket once, a part of 0 has none and a part of [`TOTAL`] has all. A part below a bucket's
/// width may have none.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    parts: Box<[u32]>,
    /// By position: the first bucket beyond the backend's; 0 for stable, which takes what nobody else has.
    ends: Box<[u16]>,
    stable: usize,
}

impl Weights {
    /// Weights from `shares` of their sum, in any unit; `stable` is a position in `shares`.
    pub fn new(shares: &[f64], stable: usize) -> Result<Self, WeightsError> {
        if !(1..=MOST_BACKENDS).contains(&shares.len()) {
            return Err(WeightsError::Count(shares.len()));
        }
        if stable >= shares.len() {
            return Err(WeightsError::Stable { stable, backends: shares.len() });
        }
        if let Some(position) = shares.iter().position(|&share| !share.is_finite() || share < 0.0) {
            return Err(WeightsError::Share { position, share: shares[position] });
        }
        let parts = parts_of(shares).ok_or(WeightsError::NothingToShare)?;
        let ends = ends_of(&parts, stable);
        Ok(Self { parts, ends, stable })
    }

    /// The parts in millionths, by position; they sum to [`TOTAL`].
    pub fn parts(&self) -> &[u32] {
        &self.parts
    }

    /// The share of the backend at `position` in 0.0..=1.0; 0 where there is none.
    pub fn ratio(&self, position: usize) -> f64 {
        self.parts.get(position).map_or(0.0, |&part| f64::from(part) / f64::from(TOTAL))
    }

    /// How many backends share, 1..=[`MOST_BACKENDS`].
    #[expect(clippy::len_without_is_empty, reason = "there is always a backend")]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// The position of the backend that rollback returns to.
    pub fn stable(&self) -> usize {
        self.stable
    }

    /// The position of the backend that `bucket` belongs to.
    pub fn of_bucket(&self, bucket: Bucket) -> usize {
        self.ends.iter().position(|&end| bucket.as_u16() < end).unwrap_or(self.stable)
    }
}

/// Why shares aren't weights.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// None, or more than [`MOST_BACKENDS`].
    #[error("weights name {0} backends; a route splits over 1 to {MOST_BACKENDS}")]
    Count(usize),
    /// A share below zero, infinite or not a number.
    #[error("weight {share} (number {} of the route) is not a share; give a number from 0 up", .position + 1)]
    Share {
        /// Its position.
        position: usize,
        /// What it is.
        share: f64,
    },
    /// Every share is zero.
    #[error("the weights are all 0, so nobody would serve; give at least one backend more than 0")]
    NothingToShare,
    /// The stable backend has no place among the shares.
    #[error(
        "the stable backend has position {stable}, but there are {backends} backends; add it to the weights"
    )]
    Stable {
        /// The position asked for.
        stable: usize,
        /// How many there are.
        backends: usize,
    },
}

/// Integers in proportion to `shares` that sum to [`TOTAL`], by largest remainder (the first of equals wins);
/// nothing where all shares are zero.
fn parts_of(shares: &[f64]) -> Option<Box<[u32]>> {
    let most = shares.iter().copied().fold(0.0, f64::max);
    if most == 0.0 {
        return None;
    }
    // In proportion to the largest, so that the sum of huge shares stays finite and that of tiny ones above
    // zero.
    let sum: f64 = shares.iter().map(|share| share / most).sum();
    let exact: Vec<f64> = shares.iter().map(|share| share / most / sum * f64::from(TOTAL)).collect();
    // `as` saturates, and an exact part is in 0.0..=TOTAL but for the last bit.
    let mut parts: Box<[u32]> = exact.iter().map(|&part| part as u32).collect();

    let mut by_remainder: Vec<usize> = (0..shares.len()).filter(|&position| shares[position] > 0.0).collect();
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
    let left = TOTAL.saturating_sub(parts.iter().sum());
    for position in by_remainder.into_iter().take(left as usize) {
        parts[position] += 1;
    }
    Some(parts)
}

/// The ends of the backends' buckets by position, see [`Weights`].
fn ends_of(parts: &[u32], stable: usize) -> Box<[u16]> {
    let width = TOTAL / u32::from(BUCKETS);
    let mut sum = 0;
    let end = |(position, part): (usize, &u32)| {
        if position == stable {
            return 0;
        }
        sum += part;
        u16::try_from((sum + width / 2) / width).unwrap_or(BUCKETS)
    };
    parts.iter().enumerate().map(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many buckets each backend has.
    fn buckets(weights: &Weights) -> Vec<u32> {
        let mut counts = vec![0; weights.len()];
        for bucket in (0..BUCKETS).filter_map(Bucket::new) {
            counts[weights.of_bucket(bucket)] += 1;
        }
        counts
    }

    fn percent(candidate: u32) -> Weights {
        Weights::new(&[f64::from(candidate) / 100.0, 100.0 - f64::from(candidate) / 100.0], 1).unwrap()
    }

    #[test]
    fn shares_become_millionths_of_their_sum() {
        let table: [(&[f64], &[u32]); 8] = [
            (&[95.0, 5.0], &[950_000, 50_000]),
            (&[0.95, 0.05], &[950_000, 50_000]),
            (&[1.0, 1.0, 1.0], &[333_334, 333_333, 333_333]),
            (&[1.0, 2.0], &[333_333, 666_667]),
            (&[33.3, 33.3, 33.4], &[333_000, 333_000, 334_000]),
            (&[0.0, 7.0], &[0, 1_000_000]),
            (&[f64::MAX, f64::MAX], &[500_000, 500_000]),
            (&[f64::from_bits(1), 0.0], &[1_000_000, 0]),
        ];
        for (shares, parts) in table {
            assert_eq!(Weights::new(shares, 0).unwrap().parts(), parts, "{shares:?}");
        }
    }

    #[test]
    fn what_is_no_split_is_refused() {
        assert_eq!(Weights::new(&[], 0), Err(WeightsError::Count(0)));
        assert_eq!(Weights::new(&[1.0; 65], 0), Err(WeightsError::Count(65)));
        assert_eq!(Weights::new(&[0.0, 0.0], 0), Err(WeightsError::NothingToShare));
        assert_eq!(Weights::new(&[1.0], 1), Err(WeightsError::Stable { stable: 1, backends: 1 }));
        for share in [-1.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Weights::new(&[1.0, share], 0), Err(WeightsError::Share { position: 1, share }));
        }
        let error = Weights::new(&[1.0, f64::NAN], 0).unwrap_err();
        assert!(error.to_string().contains("number 2"), "{error}");
    }

    #[test]
    fn all_and_nothing_are_exact() {
        for stable in 0..3 {
            let weights = Weights::new(&[0.0, 3.0, 0.0], stable).unwrap();
            assert_eq!(buckets(&weights), [0, 10_000, 0]);
            assert_eq!((weights.ratio(0), weights.ratio(1), weights.ratio(9)), (0.0, 1.0, 0.0));
        }
    }

    #[test]
    fn stable_has_the_upper_end_wherever_it_stands() {
        for (stable, owners) in [(0, [1, 2, 0]), (1, [0, 2, 1]), (2, [0, 1, 2])] {
            let mut shares = [10.0; 3];
            shares[stable] = 80.0;
            let weights = Weights::new(&shares, stable).unwrap();
            let at =
                |first: u16, last: u16| [first, last].map(|b| weights.of_bucket(Bucket::new(b).unwrap()));
            assert_eq!(at(0, 999), [owners[0]; 2]);
            assert_eq!(at(1000, 1999), [owners[1]; 2]);
            assert_eq!(at(2000, 9999), [owners[2]; 2]);
        }
    }

    #[test]
    fn borders_are_rounded_to_the_nearest_bucket() {
        for (percent, held) in
            [(0.0049, 0), (0.005, 1), (0.0149, 1), (0.015, 2), (99.9949, 9_999), (99.995, 10_000)]
        {
            let weights = Weights::new(&[percent, 100.0 - percent], 1).unwrap();
            assert_eq!(buckets(&weights), [held, 10_000 - held], "{percent} %");
        }
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_total_and_are_near_their_shares(
            shares in prop::collection::vec(prop_oneof![Just(0.0), 0.0..1e6_f64, Just(1e300)], 1..=MOST_BACKENDS),
        ) {
            let Ok(weights) = Weights::new(&shares, shares.len() - 1) else {
                prop_assert!(shares.iter().all(|&share| share == 0.0));
                return Ok(());
            };
            prop_assert_eq!(weights.parts().iter().sum::<u32>(), TOTAL);
            let sum: f64 = shares.iter().sum();
            for (share, &part) in shares.iter().zip(weights.parts()) {
                let exact = share / sum * f64::from(TOTAL);
                prop_assert!((exact - f64::from(part)).abs() < 1.001, "{} is {}", exact, part);
                prop_assert!(*share > 0.0 || part == 0);
            }
        }

        #[test]
        fn with_two_backends_a_shift_moves_exactly_the_difference(p in 0..=10_000u32, q in 0..=10_000u32) {
            let (before, after) = (percent(p), percent(q));
            let all = (0..BUCKETS).filter_map(Bucket::new);
            let moved = all.filter(|&b| before.of_bucket(b) != after.of_bucket(b)).count();
            prop_assert_eq!(moved as u32, p.abs_diff(q));
            prop_assert_eq!(buckets(&after), [q, 10_000 - q]);
        }

        #[test]
        fn every_backend_has_its_part_of_the_buckets_within_one(
            shares in prop::collection::vec(prop_oneof![Just(0.0), 0.0..100.0_f64], 1..9),
            at in any::<prop::sample::Index>(),
        ) {
            let Ok(weights) = Weights::new(&shares, at.index(shares.len())) else { return Ok(()) };
            for (count, &part) in buckets(&weights).into_iter().zip(weights.parts()) {
                prop_assert!((count * 100).abs_diff(part) <= 100);
                prop_assert!(part > 0 || count == 0);
            }
        }

        #[test]
        fn the_last_candidate_grows_at_the_cost_of_stable_alone(a in 0..=50u32, b in 0..=50u32, more in 0..=50u32) {
            let weights = |grown: u32| {
                let shares = [a, b + grown, 150 - a - b - grown].map(f64::from);
                Weights::new(&shares, 2).unwrap()
            };
            let (before, after) = (weights(0), weights(more));
            for bucket in (0..BUCKETS).filter_map(Bucket::new) {
                let (from, to) = (before.of_bucket(bucket), after.of_bucket(bucket));
                prop_assert!(from == to || (from == 2 && to == 1));
            }
        }
    }
}
