//! How figures, times and changes are written.
//!
//! Every verb that tells of a running proxy writes by it. It must never let a control character through: what it writes
//! goes to a terminal.

use std::cmp::Ordering;

use crate::config::model::Mode;
use crate::control::record::{Change, RouteState};

/// `25 %`, `0.5 %`, `0.05 %`: decimals only where they say something.
pub(super) fn percent(value: f64) -> String {
    format!("{} %", share(value))
}

/// The same without the sign.
pub(super) fn share(value: f64) -> String {
    let hundredths = (value * 100.0).round() / 100.0;
    match hundredths {
        // Not -0.
        0.0 if value > 0.0 => "<0.01".to_owned(),
        0.0 => "0".to_owned(),
        _ => hundredths.to_string(),
    }
}

/// `7.5 ms`, `24 ms`, `1.2 s`.
pub(super) fn latency(seconds: f64) -> String {
    let ms = seconds * 1000.0;
    match ms {
        _ if ms < 9.95 => format!("{ms:.1} ms"),
        _ if ms < 999.5 => format!("{ms:.0} ms"),
        _ if ms < 9_950.0 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// `0.4`, `12.5`, `120`, `12,034`.
pub(super) fn rate(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    match tenths {
        _ if tenths.fract() != 0.0 && tenths < 100.0 => format!("{tenths:.1}"),
        _ => grouped(value.round() as i64),
    }
}

/// `12,034`.
pub(super) fn grouped(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = if count < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0.4 s`, `12 s`, `3 min`, `5 h`, `2 days`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        _ if seconds < 0.95 => format!("{:.1} s", seconds.max(0.0)),
        0..=99 => format!("{whole} s"),
        100..=5_999 => format!("{} min", whole / 60),
        6_000..=172_799 => format!("{} h", whole / 3600),
        _ => format!("{} days", whole / 86_400),
    }
}

/// `2026-11-21 14:03:22` of a time as RFC 3339 says it.
pub(super) fn moment(at: &str) -> String {
    plain(at).chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// Seconds from one time to another, both as RFC 3339 says them.
pub(super) fn between(from: &str, to: &str) -> Option<f64> {
    let read = |text: &str| text.parse::<jiff::Timestamp>().ok();
    Some((read(to)?.as_millisecond() - read(from)?.as_millisecond()) as f64 / 1000.0)
}

/// What has changed of a route: `web: heroku 95 -> 75 %, fly 5 -> 25 %`.
pub(super) fn change(change: &Change) -> String {
    let what = match (&change.from, &change.to) {
        (Some(from), Some(to)) => difference(from, to),
        (None, Some(to)) => format!("new, {}", state(to)),
        (Some(from), None) => format!("gone; it was {}", state(from)),
        (None, None) => "nothing".to_owned(),
    };
    format!("{}: {what}", plain(&change.route))
}

/// Without what a terminal would obey, and without what can't be seen and turns the text around it.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !turns(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Marks of direction, joiners, and spaces of no width.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}')
}

fn difference(from: &RouteState, to: &RouteState) -> String {
    let mut parts: Vec<String> = by_weight(from, to)
        .into_iter()
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| format!("{name} {} -> {} %", share(before), share(after)))
        .collect();
    if from.mode != to.mode {
        parts.push(format!("mode {} -> {}", from.mode.as_str(), to.mode.as_str()));
    }
    match (from.rolled_back, to.rolled_back) {
        (false, true) => parts.push("rolled back".to_owned()),
        (true, false) => parts.push("no longer rolled back".to_owned()),
        (false, false) | (true, true) => {}
    }
    if parts.is_empty() { "something else than its weights and mode".to_owned() } else { parts.join(", ") }
}

/// Every backend with its weight before and after, the largest before first: mostly stable.
fn by_weight<'a>(from: &'a RouteState, to: &'a RouteState) -> Vec<(String, f64, f64)> {
    let of = |state: &RouteState, name: &str| state.weights.get(name).copied().unwrap_or(0.0);
    let mut names: Vec<&'a String> = from.weights.keys().chain(to.weights.keys()).collect();
    names.sort();
    names.dedup();
    let mut all: Vec<_> = names.into_iter().map(|name| (plain(name), of(from, name), of(to, name))).collect();
    all.sort_by(|(_, one, _), (_, other, _)| other.partial_cmp(one).unwrap_or(Ordering::Equal));
    all
}

fn state(state: &RouteState) -> String {
    let weights =
        by_weight(state, state).into_iter().map(|(name, weight, _)| format!("{name} {}", percent(weight)));
    let mut parts: Vec<String> = weights.collect();
    if state.mode != Mode::Open {
        parts.push(format!("mode {}", state.mode.as_str()));
    }
    if state.rolled_back {
        parts.push("rolled back".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(weights: &[(&str, f64)], mode: Mode, rolled_back: bool) -> Option<RouteState> {
        let weights: BTreeMap<_, _> =
            weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        Some(RouteState { weights, mode, rolled_back })
    }

    #[test]
    fn figures_are_written_as_people_write_them() {
        assert_eq!(
            [0.0, -0.0, 0.001, 0.5, 25.0, 33.333_333, 99.999].map(percent),
            ["0 %", "0 %", "<0.01 %", "0.5 %", "25 %", "33.33 %", "100 %"]
        );
        assert_eq!(
            [0.0075, 0.0242, 0.9996, 1.24, 59.6].map(latency),
            ["7.5 ms", "24 ms", "1.0 s", "1.2 s", "60 s"]
        );
        assert_eq!(
            [0.0, 0.04, 0.44, 99.96, 120.4, 12_034.2].map(rate),
            ["0", "0", "0.4", "100", "120", "12,034"]
        );
        assert_eq!([0, 999, -1000, 1_234_567].map(grouped), ["0", "999", "-1,000", "1,234,567"]);
        assert_eq!(
            [-1.0, 0.44, 12.4, 180.0, 7_300.0, 2e5].map(span),
            ["0.0 s", "0.4 s", "12 s", "3 min", "2 h", "2 days"]
        );
    }

    #[test]
    fn what_a_terminal_would_obey_or_hide_is_taken_out() {
        for (text, expected) in [
            ("a\x1b[2Jb\nc\u{9b}d", "a [2Jb c d"),
            ("\u{202e}toor\u{202c} \u{2066}x\u{2069} \u{200b}\u{200f}\u{2060}\u{61c}y", "toor x y"),
            ("Jürgen שלום 東京", "Jürgen שלום 東京"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn times_are_read_and_cut_to_the_second() {
        assert_eq!(moment("2026-11-21T14:03:22.123456Z"), "2026-11-21 14:03:22");
        assert_eq!(between("2026-11-21T14:03:22.5Z", "2026-11-21T14:04:22Z"), Some(59.5));
        assert_eq!(between("yesterday", "2026-11-21T14:04:22Z"), None);
    }

    #[test]
    fn changes_are_told_route_by_route() {
        let (open, shut) = (Mode::Open, Mode::Maintenance);
        let before = of(&[("heroku", 95.0), ("fly", 5.0)], open, false);
        for (from, to, expected) in [
            (
                before.clone(),
                of(&[("heroku", 75.0), ("fly", 25.0)], open, false),
                "heroku 95 -> 75 %, fly 5 -> 25 %",
            ),
            (
                before.clone(),
                of(&[("heroku", 100.0), ("fly", 0.0)], open, true),
                "heroku 95 -> 100 %, fly 5 -> 0 %, rolled back",
            ),
            (
                of(&[("a", 50.0), ("b", 30.0), ("c", 20.0)], open, true),
                of(&[("a", 60.0), ("b", 20.0), ("c", 20.0)], shut, false),
                "a 50 -> 60 %, b 30 -> 20 %, mode open -> maintenance, no longer rolled back",
            ),
            (
                before.clone(),
                of(&[("heroku", 95.0), ("aws", 5.0)], open, false),
                "fly 5 -> 0 %, aws 0 -> 5 %",
            ),
            (None, before.clone(), "new, heroku 95 %, fly 5 %"),
            (before.clone(), None, "gone; it was heroku 95 %, fly 5 %"),
            (before.clone(), before.clone(), "something else than its weights and mode"),
        ] {
            assert_eq!(change(&Change { route: "web".to_owned(), from, to }), format!("web: {expected}"));
        }
    }
}
