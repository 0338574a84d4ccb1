//! Everything that is shown at one moment, and how figures are written.
//!
//! `stage` collects it; `page` and `plain` set it. It must never hold a figure that wasn't measured.

use std::path::PathBuf;
use std::time::Duration;

use super::conductor::Chronicle;
use super::meter::Scrape;
use super::readings::Reading;
use super::stage::Doors;
use super::visitors::{Habits, Tally};

/// What doesn't change: where everything is.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Every address.
    pub(super) doors: Doors,
    /// The folder of the configuration file and the state.
    pub(super) folder: PathBuf,
    /// What lets into the dashboard.
    pub(super) token: String,
    /// How long it all takes; nothing means until Ctrl-C.
    pub(super) length: Option<Duration>,
}

/// What is seen now.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Since the start.
    pub(super) now: Duration,
    /// What the metrics say.
    pub(super) scrape: Scrape,
    /// Rates and latency of both sides.
    pub(super) readings: [Reading; 2],
    /// What visitors saw.
    pub(super) tally: Tally,
    /// What the regulars did.
    pub(super) habits: Habits,
    /// What has happened.
    pub(super) chronicle: Chronicle,
}

/// `25 %`, `0.5 %`: a decimal only where it says something.
pub(super) fn percent(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    if tenths.fract() == 0.0 { format!("{tenths:.0} %") } else { format!("{tenths:.1} %") }
}

/// `7.5 ms`, `24 ms`.
pub(super) fn milliseconds(seconds: f64) -> String {
    let ms = seconds * 1000.0;
    if ms < 9.95 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// `0:07`, `12:34`.
pub(super) fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// `12,034`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 request`, `2 requests`.
pub(super) fn plural(count: u64, word: &str) -> String {
    format!("{} {word}{}", grouped(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_write_them() {
        assert_eq!([0.0, 0.52, 25.0, 99.96].map(percent), ["0 %", "0.5 %", "25 %", "100 %"]);
        assert_eq!([0.0075, 0.00994, 0.0242].map(milliseconds), ["7.5 ms", "9.9 ms", "24 ms"]);
        assert_eq!([7, 754].map(|s| clock(Duration::from_secs(s))), ["0:07", "12:34"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 2].map(|count| plural(count, "shift")), ["1 shift", "2 shifts"]);
    }
}
