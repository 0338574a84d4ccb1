//! How fast a visitor is, over the time that is spent waiting for it: slow and honest lives, one byte a second doesn't.
//!
//! Uploads, the writes of a visitor's connection and the answers on its streams each hold one, beside the deadline for
//! standing still. Pure: durations in, a verdict out. It must never count the time in which we or a backend are slow.

use std::time::Duration;

/// Bytes and waiting, since the verdict before.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    least: u64,
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// At least `least` bytes for each second of waiting, judged whenever that has come to `window`.
    pub const fn new(least: u64, window: Duration) -> Self {
        Self { least, window, waited: Duration::ZERO, bytes: 0 }
    }

    /// So many bytes moved, after we had waited for them so long; whether that goes on fast enough.
    pub fn moved(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.window {
            return true;
        }
        let due = self.least as f64 * self.waited.as_secs_f64();
        let fast = self.bytes as f64 >= due;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        fast
    }

    /// How long `bytes` may take.
    pub fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_secs(bytes / self.least.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Moves of so many bytes, each after a wait, until one is too slow.
    fn lives(bytes: u64, wait: Duration) -> Option<usize> {
        let mut pace = Pace::new(240, 60 * SECOND);
        (1..10_000).find(|_| !pace.moved(wait, bytes))
    }

    #[test]
    fn a_byte_a_second_ends_with_the_window_and_what_is_fast_enough_never() {
        for (bytes, wait, ends) in [
            (1, SECOND, Some(60)),
            (239, SECOND, Some(60)),
            (240, SECOND, None),
            (1, SECOND / 1000, None),
            (14_400, 59 * SECOND, None),
            (1000, 59 * SECOND, Some(2)),
            (1, Duration::ZERO, None),
            (0, SECOND, Some(60)),
        ] {
            assert_eq!(lives(bytes, wait), ends, "{bytes} bytes each {wait:?}");
        }
    }

    #[test]
    fn what_came_fast_before_buys_no_time_for_ever() {
        let mut pace = Pace::new(240, 60 * SECOND);
        assert!(pace.moved(SECOND, 1_000_000));
        assert!((0..59).all(|_| pace.moved(SECOND, 1)), "in the first window it counts");
        assert!(!(0..60).all(|_| pace.moved(SECOND, 1)), "in the next it doesn't");
    }
}
