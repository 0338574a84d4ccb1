//! Pure: how many requests may be sent once more to a backend that lost them.
//!
//! A worker has one; requests earn, further attempts spend. Where everything fails, attempts must never become a load
//! of their own: a struggling backend gets little more than what visitors ask of it.

use std::cell::Cell;

use crate::config::limits::{RETRIES_MOST, RETRIES_PER_SECOND, RETRY_SHARE};

/// How far a clock may go back, in milliseconds, and still be the same. A worker's own never does.
const SET: u64 = 1000;

/// What one worker may still try again.
#[derive(Debug)]
pub struct Budget {
    left: Cell<f64>,
    /// When it was looked at last, in milliseconds.
    at: Cell<u64>,
}

impl Budget {
    /// A full one.
    pub fn new() -> Self {
        Self { left: Cell::new(RETRIES_MOST), at: Cell::new(0) }
    }

    /// A request has come.
    pub fn earn(&self) {
        self.left.set((self.left.get() + RETRY_SHARE).min(RETRIES_MOST));
    }

    /// Whether one may be sent again, at `now` in milliseconds on a clock that goes on.
    pub fn spend(&self, now: u64) -> bool {
        // A step back gives nothing when it is made good; after a long one time begins anew.
        let at = self.at.get();
        let now = if now < at && at - now < SET { at } else { now };
        self.at.set(now);
        let passed = now.saturating_sub(at.max(1)) as f64 / 1000.0;
        let left = (self.left.get() + passed * RETRIES_PER_SECOND).min(RETRIES_MOST);
        // Five fifths are one, whatever they sum up to.
        let may = left > 1.0 - 1e-6;
        self.left.set(if may { (left - 1.0).max(0.0) } else { left });
        may
    }

    /// Whether so much of it is spent that requests should keep to connections which are sure to be good.
    pub fn is_low(&self) -> bool {
        self.left.get() < RETRIES_MOST / 2.0
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget, now: u64) -> u32 {
        (0..1000).map(|_| u32::from(budget.spend(now))).sum()
    }

    #[test]
    fn a_burst_is_bounded_and_then_requests_earn_a_share() {
        let budget = Budget::new();
        assert_eq!(spent(&budget, 5_000), RETRIES_MOST as u32);
        (0..100).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, 5_000), 20);
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, 5_000), RETRIES_MOST as u32);
    }

    #[test]
    fn little_traffic_may_be_tried_again_all_the_same() {
        let budget = Budget::new();
        spent(&budget, 5_000);
        assert_eq!(spent(&budget, 6_000), RETRIES_PER_SECOND as u32);
        // A clock that goes back gives nothing, and takes nothing.
        assert_eq!(spent(&budget, 1_000), 0);
        assert_eq!(spent(&budget, 2_000), RETRIES_PER_SECOND as u32);
    }
    /// Requests that fail in turns, hundreds of times, beside a bucket that is counted without any clock's whims.
    ///
    /// Seen: requests tell the time a millisecond apart from each other, and each step back and forth gave a little,
    /// which was several times [`RETRIES_PER_SECOND`] where thousands failed.
    #[test]
    fn no_more_is_spent_than_was_earned_whoever_tells_the_time() {
        for seed in 0..300 {
            let mut chance = fastrand::Rng::with_seed(seed);
            let budget = Budget::new();
            let (mut us, mut left, mut at, mut spent, mut may) =
                (1_000_000_000_u64, RETRIES_MOST, 0.0, 0_i64, 0_i64);
            for _ in 0..6 {
                let (rate, share) = (chance.u64(1..5_000), chance.f64() * f64::from(chance.u8(0..3)));
                for _ in 0..rate * 2 {
                    us += chance.u64(0..=2_000_000 / rate);
                    budget.earn();
                    let now = us as f64 / 1_000_000.0;
                    left = (left + RETRY_SHARE + (now - at) * RETRIES_PER_SECOND).min(RETRIES_MOST);
                    at = now;
                    if chance.f64() < share {
                        spent += i64::from(budget.spend(us / 1_000 + chance.u64(0..3) - 1));
                        may += i64::from(left >= 1.0);
                        left -= if left >= 1.0 { 1.0 } else { 0.0 };
                        assert!((spent - may).abs() <= 2, "seed {seed}: {spent} spent, {may} earned");
                    }
                }
            }
            us += 1_000_000 * (RETRIES_MOST / RETRIES_PER_SECOND) as u64 + 2_000_000;
            let all = (0..1000).filter(|_| budget.spend(us / 1_000)).count();
            assert_eq!(all, RETRIES_MOST as usize, "seed {seed}: in quiet times it fills up again");
        }
    }
}
