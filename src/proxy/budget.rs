//! Pure: how many requests may be sent once more to a backend that lost them.
//!
//! A worker has one; requests earn, further attempts spend. Where everything fails, attempts must never become a load
//! of their own: a struggling backend gets little more than what visitors ask of it.

use std::cell::Cell;

use crate::config::limits::{RETRIES_MOST, RETRIES_PER_SECOND, RETRY_SHARE};

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
        let passed = now.saturating_sub(self.at.replace(now).max(1)) as f64 / 1000.0;
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
}
