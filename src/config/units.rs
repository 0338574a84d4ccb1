//! Durations ("30s") and sizes ("64KiB") as people write them.
//!
//! `kinds` calls it with the range a key allows. It must never take a number without its unit: thirty what?

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::problem::{Fault, quoted};

/// What a duration looks like, for messages.
pub(super) const DURATION_FORM: &str =
    "write a whole number and its unit, ms, s, m or h: \"500ms\", \"30s\", \"5m\", \"1h\"";
/// What a size looks like, for messages.
pub(super) const SIZE_FORM: &str =
    "write a whole number and its unit, B, KB, KiB, MB, MiB, GB or GiB: \"64KiB\", \"10MB\"";

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// `"500ms"`, `"30s"`, `"5m"` or `"1h"` within `allowed`.
pub(super) fn duration(text: &str, allowed: &RangeInclusive<Duration>) -> Result<Duration, Fault> {
    let value = measured(text, &DURATION_UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| Fault::new(format!("{} isn't a duration", quoted(text)), DURATION_FORM))?;
    within(value, allowed, Lasting, text)
}

/// `"64KiB"`, `"10MB"` or `"512B"` within `allowed`, in bytes.
pub(super) fn size(text: &str, allowed: &RangeInclusive<u64>) -> Result<u64, Fault> {
    let value = measured(text, &SIZE_UNITS)
        .ok_or_else(|| Fault::new(format!("{} isn't a size", quoted(text)), SIZE_FORM))?;
    within(value, allowed, Bytes, text)
}

/// A duration as it would be written.
struct Lasting(Duration);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        shown(f, millis, &DURATION_UNITS)
    }
}

/// A size as it would be written.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(f, self.0, &SIZE_UNITS)
    }
}

/// A whole number in the largest unit that divides it.
fn shown(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let mut dividing = units.iter().rev().filter(|(_, worth)| value != 0 && value.is_multiple_of(*worth));
    let (unit, worth) = dividing.next().unwrap_or(&units[0]);
    write!(f, "{}{unit}", value / worth)
}

/// Digits and a unit, nothing between, before or behind; nothing too where the product doesn't fit.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, worth) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*worth)
}

fn within<T, S>(value: T, allowed: &RangeInclusive<T>, show: fn(T) -> S, text: &str) -> Result<T, Fault>
where
    T: PartialOrd + Copy,
    S: fmt::Display,
{
    if allowed.contains(&value) {
        return Ok(value);
    }
    let side = if value < *allowed.start() { "little" } else { "much" };
    let (least, most) = (show(*allowed.start()), show(*allowed.end()));
    Err(Fault::new(
        format!("{} is too {side}", quoted(text)),
        format!("write something from \"{least}\" to \"{most}\""),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_TIME: RangeInclusive<Duration> = Duration::ZERO..=Duration::MAX;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let millis = |text| duration(text, &ANY_TIME).unwrap().as_millis();
        assert_eq!(millis("500ms"), 500);
        assert_eq!(millis("30s"), 30_000);
        assert_eq!(millis("5m"), 300_000);
        assert_eq!(millis("1h"), 3_600_000);
        assert_eq!(millis("0s"), 0);
    }

    #[test]
    fn sizes_tell_thousands_from_1024s() {
        let bytes = |text| size(text, &(0..=u64::MAX)).unwrap();
        assert_eq!(bytes("512B"), 512);
        assert_eq!(bytes("64KiB"), 65_536);
        assert_eq!(bytes("10MB"), 10_000_000);
        assert_eq!(bytes("1GiB"), 1_073_741_824);
    }

    #[test]
    fn anything_else_is_neither() {
        for text in ["", "30", "s", "30 s", "-1s", "1.5s", "30sec", "30S", "1d", "99999999999999999999s"] {
            let fault = duration(text, &ANY_TIME).unwrap_err();
            assert_eq!(fault.message, format!("`{text}` isn't a duration"));
        }
        for text in ["", "64", "KiB", "64 KiB", "64kib", "1TB", "-1B", "18446744073709551615KiB"] {
            let fault = size(text, &(0..=u64::MAX)).unwrap_err();
            assert_eq!(fault.message, format!("`{text}` isn't a size"));
        }
    }

    #[test]
    fn ranges_are_named_in_units() {
        let fault = duration("2h", &(Duration::from_millis(1)..=Duration::from_secs(90))).unwrap_err();
        assert_eq!(fault.message, "`2h` is too much");
        assert_eq!(fault.remedy, "write something from \"1ms\" to \"90s\"");
        let fault = size("1B", &(1024..=1_000_000)).unwrap_err();
        assert_eq!(fault.to_string(), "`1B` is too little; write something from \"1KiB\" to \"1MB\"");
    }
}
