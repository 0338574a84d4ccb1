//! Pure: when a certificate is renewed, and when a failed order is tried again.
//!
//! `renewal` asks with its clock and its dice. It must never put a renewal off to the very end, nor try without pause.

use std::time::Duration;

use crate::config::limits::{ACME_RETRY, ACME_RETRY_MOST, ACME_WINDOW, ACME_WINDOW_LEAST, ACME_WINDOW_MOST};

/// A span of time, both ends since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its begin.
    pub from: Duration,
    /// Its end.
    pub until: Duration,
}

/// When a certificate of this life is renewed: in the window that its authority asks for (RFC 9773 section 4.2), else
/// at two thirds. `chance`, from 0 to 1, keeps those who began together apart. A tenth of its life is left for
/// failures, whatever the window says.
pub fn renewal(life: Span, window: Option<Span>, chance: f64) -> Duration {
    let length = life.until.saturating_sub(life.from);
    let latest = life.until.saturating_sub(length / 10);
    let wanted = match window.filter(|window| window.from < window.until) {
        Some(window) => window.from + (window.until - window.from).mul_f64(chance.clamp(0.0, 1.0)),
        None => life.from + length / 3 * 2 + (length / 50).mul_f64(chance.clamp(0.0, 1.0)),
    };
    wanted.min(latest)
}

/// The pause after so many failures in a row, from 1: it doubles, from a minute to six hours, and is a quarter longer
/// by chance.
pub fn pause(failures: u32, chance: f64) -> Duration {
    let doubled = ACME_RETRY.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    (doubled + (doubled / 4).mul_f64(chance.clamp(0.0, 1.0))).min(ACME_RETRY_MOST)
}

/// When the window is asked for again, by what its authority said, if it did.
pub fn next_look(told: Option<Duration>) -> Duration {
    told.unwrap_or(ACME_WINDOW).clamp(ACME_WINDOW_LEAST, ACME_WINDOW_MOST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn span(from: u32, until: u32) -> Span {
        Span { from: DAY * from, until: DAY * until }
    }

    #[test]
    fn two_thirds_of_its_life_or_the_window() {
        let life = span(100, 190);
        assert_eq!(renewal(life, None, 0.0), DAY * 160);
        assert_eq!(renewal(life, None, 1.0), DAY * 160 + DAY * 90 / 50);
        assert_eq!(renewal(life, Some(span(150, 152)), 0.5), DAY * 151);
        // At once, where the authority is about to revoke it.
        assert_eq!(renewal(life, Some(span(90, 91)), 1.0), DAY * 91);
        // A window that is none, and one that is too late.
        assert_eq!(renewal(life, Some(span(152, 150)), 0.0), DAY * 160);
        assert_eq!(renewal(life, Some(span(300, 310)), 0.0), DAY * 181);
    }

    #[test]
    fn pauses_double_from_a_minute_to_six_hours() {
        let minutes = |failures| pause(failures, 0.0).as_secs() / 60;
        assert_eq!([1, 2, 3, 9, 10, 33, u32::MAX].map(minutes), [1, 2, 4, 256, 360, 360, 360]);
        assert_eq!(pause(1, 1.0), Duration::from_secs(75));
    }

    #[test]
    fn the_window_is_asked_for_once_a_minute_to_once_a_day() {
        let look = |told| next_look(told).as_secs();
        assert_eq!([None, Some(Duration::ZERO), Some(DAY * 9)].map(look), [6 * 3600, 60, 24 * 3600]);
    }

    proptest! {
        #[test]
        fn never_a_panic_and_never_the_last_tenth(
            from in 0u64..1 << 40, length in 0u64..1 << 40, a in 0u64..1 << 41, b in 0u64..1 << 41,
            chance in prop::num::f64::ANY.prop_filter("a number", |chance| !chance.is_nan()), failures in any::<u32>())
        {
            let seconds = Duration::from_secs;
            let life = Span { from: seconds(from), until: seconds(from + length) };
            let at = renewal(life, Some(Span { from: seconds(a), until: seconds(b) }), chance);
            prop_assert!(at <= life.until - (life.until - life.from) / 10);
            let pause = pause(failures, chance);
            prop_assert!((ACME_RETRY..=ACME_RETRY_MOST).contains(&pause));
        }
    }
}
