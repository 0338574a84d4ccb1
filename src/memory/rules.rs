//! Pure: how scarce memory is, by what is used of what there may be, and whose turn it is to go.
//!
//! `memory::watch` asks with each look. It must never flicker: what has begun at one mark ends at a lower one.

use std::time::Duration;

use crate::config::limits::{
    CONNECTION_COST, MEMORY_BASE, MEMORY_EASED, MEMORY_PATIENCE, MEMORY_PATIENCE_LEAST, MEMORY_SHORT,
    MEMORY_TIGHT,
};

/// How scarce memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// There is enough.
    #[default]
    Calm,
    /// What only makes things faster is given back: big reads, connections kept for later.
    Tight,
    /// Requests that would begin are refused, connections wait, and who reads slowest goes.
    Short,
}

impl Level {
    /// As events and the log name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Tight => "tight",
            Self::Short => "short",
        }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Rules {
    level: Level,
    /// What was used at the last look.
    last: Option<u64>,
    /// Since when it is short.
    short: Option<Duration>,
}

impl Rules {
    /// What `used` bytes of `limit` mean at `now`, on any clock that only goes on: the level, and how long a visitor
    /// who reads nothing is borne with. The longer it is short, the shorter that is: the slowest go first, and no
    /// more than it takes.
    pub fn look(&mut self, used: u64, limit: u64, now: Duration) -> (Level, Option<Duration>) {
        // What grows is taken for what it will be at the next look: a flood doesn't wait for it.
        let grown = used.saturating_sub(self.last.replace(used).unwrap_or(used));
        let share = (used + grown) as f64 / limit.max(1) as f64;
        let above = |mark: f64, held: bool| share >= if held { mark - MEMORY_EASED } else { mark };
        self.level = if above(MEMORY_SHORT, self.level == Level::Short) {
            Level::Short
        } else if above(MEMORY_TIGHT, self.level >= Level::Tight) {
            Level::Tight
        } else {
            Level::Calm
        };
        if self.level != Level::Short {
            self.short = None;
            return (self.level, None);
        }
        let since = *self.short.get_or_insert(now);
        let seconds = now.saturating_sub(since).as_secs();
        let halved = MEMORY_PATIENCE / (1 << seconds.min(16));
        // A first second of it may pass by itself.
        let patience = (seconds > 0).then(|| halved.max(MEMORY_PATIENCE_LEAST));
        (self.level, patience)
    }
}

/// How many connections `limit` bytes are enough for.
pub fn fit(limit: u64) -> usize {
    usize::try_from(limit.saturating_sub(MEMORY_BASE) / CONNECTION_COST).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Two looks at the same: what it is, once it no longer grows.
    fn at(rules: &mut Rules, percent: u64) -> Level {
        rules.last = Some(percent);
        rules.look(percent, 100, Duration::ZERO).0
    }

    #[test]
    fn levels_begin_at_their_marks_and_end_below_them() {
        let mut rules = Rules::default();
        let steps = [
            (0, Level::Calm),
            (74, Level::Calm),
            (75, Level::Tight),
            (71, Level::Tight),
            (69, Level::Calm),
            (89, Level::Tight),
            (90, Level::Short),
            (86, Level::Short),
            (84, Level::Tight),
            (89, Level::Tight),
            (95, Level::Short),
            (10, Level::Calm),
            (1000, Level::Short),
        ];
        for (percent, level) in steps {
            assert_eq!(at(&mut rules, percent), level, "at {percent} %");
        }
    }

    #[test]
    fn what_grows_fast_is_met_before_it_is_there() {
        let mut rules = Rules::default();
        let looks = [20, 30, 45, 60, 60, 60].map(|percent| rules.look(percent, 100, Duration::ZERO).0);
        assert_eq!(looks, [Level::Calm, Level::Calm, Level::Calm, Level::Tight, Level::Calm, Level::Calm]);
        assert_eq!(rules.look(76, 100, Duration::ZERO).0, Level::Short);
        // A fall says nothing of the next look.
        assert_eq!(rules.look(72, 100, Duration::ZERO).0, Level::Tight);
    }

    #[test]
    fn the_smallest_machine_of_fly_has_room_for_the_default_and_64_mib_for_half_of_it() {
        let default = crate::config::limits::Limits::default().connections;
        assert!(fit(256 * 1024 * 1024 * 9 / 10) >= default);
        assert!((default / 4..default / 2 + 1).contains(&fit(64 * 1024 * 1024)));
        assert_eq!(fit(0), 0);
    }

    #[test]
    fn patience_shrinks_while_it_stays_short_and_is_whole_again_afterwards() {
        let mut rules = Rules::default();
        let patience: Vec<_> = (0..8).map(|second| rules.look(95, 100, SECOND * second).1).collect();
        let millis =
            [None, Some(5000), Some(2500), Some(1250), Some(1000), Some(1000), Some(1000), Some(1000)];
        assert_eq!(patience, millis.map(|millis| millis.map(Duration::from_millis)));
        assert_eq!(rules.look(80, 100, SECOND * 8), (Level::Tight, None));
        assert_eq!(rules.look(95, 100, SECOND * 9), (Level::Short, None));
    }

    proptest! {
        #[test]
        fn a_level_never_changes_twice_while_use_moves_less_than_the_ease(
            start in 0_u64..2000, moves in proptest::collection::vec(-8_i64..8, 1..50),
        ) {
            let mut rules = Rules::default();
            let mut level = rules.look(start, 1000, SECOND).0;
            let mut changes = 0;
            for step in moves {
                // Around the start: with what it grows by, never further than the ease.
                let next = rules.look(start.saturating_add_signed(step), 1000, SECOND).0;
                changes += u32::from(next != level);
                level = next;
            }
            prop_assert!(changes <= 1, "{changes} changes");
        }
    }
}
