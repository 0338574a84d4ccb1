//! What the demo does and when: a minute in the life of somebody who moves to another platform.
//!
//! `conductor` follows it. It must never do anything itself.

use std::time::Duration;

use super::Side;

/// How long the whole script takes unless told otherwise.
pub(super) const WHOLE: Duration = Duration::from_secs(60);

/// Something that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Give the new platform so many percent.
    Shift(u8),
    /// The new platform begins to fail.
    Spoil,
    /// Back to the old platform, as soon as the metrics show the trouble and no later than the next act.
    RollBackOnErrors,
    /// The new platform works again.
    Repair,
}

impl Act {
    /// What will be done, in words.
    pub(super) fn words(self) -> String {
        let (old, new) = (Side::Old.name(), Side::New.name());
        match self {
            Self::Shift(percent) => format!("{new} to {percent} %"),
            Self::Spoil => format!("{new} begins to fail"),
            Self::RollBackOnErrors => format!("back to {old}, as soon as the metrics show the trouble"),
            Self::Repair => format!("{new} is repaired"),
        }
    }
}

/// The acts, each with its second of [`WHOLE`].
const ACTS: [(u32, Act); 9] = [
    (5, Act::Shift(1)),
    (12, Act::Shift(5)),
    (19, Act::Shift(25)),
    (27, Act::Shift(50)),
    (35, Act::Spoil),
    (35, Act::RollBackOnErrors),
    (40, Act::Repair),
    (45, Act::Shift(25)),
    (51, Act::Shift(100)),
];

/// The acts, each with when it begins and when the next one does, in a script that takes `length`.
pub(super) fn acts(length: Duration) -> impl Iterator<Item = (Duration, Act, Duration)> {
    let at = move |second: u32| length * second / WHOLE.as_secs() as u32;
    let ends = ACTS.iter().skip(1).map(|(second, _)| *second).chain([WHOLE.as_secs() as u32]);
    ACTS.iter().zip(ends).map(move |((second, act), end)| (at(*second), *act, at(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_follow_each_other_and_end_with_everything_moved() {
        let acts: Vec<_> = acts(WHOLE).collect();
        assert!(acts.iter().all(|(begins, _, ends)| begins <= ends));
        assert!(acts.windows(2).all(|pair| pair[0].2 == pair[1].0));
        let (_, act, end) = *acts.last().unwrap();
        assert_eq!((act, end), (Act::Shift(100), WHOLE));
    }

    #[test]
    fn a_short_script_has_all_acts() {
        let short: Vec<_> = acts(Duration::from_secs(20)).collect();
        assert_eq!((short.len(), short[1].0), (ACTS.len(), Duration::from_secs(4)));
    }
}
