//! The view as a page of 80 by 24 on a terminal, drawn anew several times a second.
//!
//! `screen` shows it. It fits the smallest terminal there is and must never be wider.

use std::time::Duration;

use super::Side;
use super::plain::invitation;
use super::view::{Places, View, clock, grouped, milliseconds, percent, plural};
use super::visitors::{RATE, REGULARS};

/// The page's size.
const COLUMNS: usize = 80;
const ROWS: usize = 24;
/// Where the figures begin: behind their names, and so wide for each side.
const NAMES: usize = 14;
const SIDE: usize = 32;
/// How wide a fader is.
const FADER: usize = 22;
/// How many of the latest events are shown.
const EVENTS: usize = 4;

/// How a piece of text is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// As it comes.
    Plain,
    /// What matters now.
    Bold,
    /// What can be overlooked.
    Faint,
    /// A platform's own colour.
    Of(Side),
    /// All is well.
    Good,
    /// Something isn't.
    Bad,
}

impl Ink {
    /// The control sequence that begins it.
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Of(Side::Old) => "\x1b[35m",
            Self::Of(Side::New) => "\x1b[36m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[1;31m",
        }
    }
}

/// A line in pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Vec<(Ink, String)>);

impl Line {
    fn with(mut self, ink: Ink, text: impl Into<String>) -> Self {
        self.0.push((ink, text.into()));
        self
    }

    /// Blanks up to a column.
    fn to(self, column: usize) -> Self {
        let blanks = column.saturating_sub(self.width());
        self.with(Ink::Plain, " ".repeat(blanks))
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// The line as a terminal takes it.
    pub(super) fn painted(&self, in_colour: bool) -> String {
        let paint = |(ink, text): &(Ink, String)| match ink.code() {
            code if in_colour && !code.is_empty() => format!("{code}{text}\x1b[0m"),
            _ => text.clone(),
        };
        self.0.iter().map(paint).collect()
    }
}

/// The whole page.
pub(super) fn page(view: &View, places: &Places) -> Vec<Line> {
    let mut lines = vec![title(view, places), Line::default(), heads()];
    lines.extend(figures(view));
    lines.push(Line::default());
    lines.extend(people(view));
    lines.extend([Line::default(), next(view)]);
    lines.extend(events(view));
    lines.resize_with(ROWS - 6, Line::default);
    lines.extend(hands_on(view, places));
    lines
}

fn title(view: &View, places: &Places) -> Line {
    let time = match places.length {
        Some(length) => format!("{} of {}", clock(view.now), clock(length)),
        None => clock(view.now),
    };
    Line::default()
        .with(Ink::Bold, " Crossfade demo")
        .with(Ink::Faint, format!("   {RATE} requests a second through one proxy"))
        .to(COLUMNS - 1 - time.len())
        .with(Ink::Plain, time)
}

fn heads() -> Line {
    Side::BOTH.into_iter().fold(Line::default(), |line, side| {
        let line = line.to(NAMES + SIDE * side as usize).with(Ink::Of(side), side.name());
        line.with(Ink::Faint, format!("  {}", side.role()))
    })
}

fn figures(view: &View) -> [Line; 5] {
    let written = |value: Option<f64>, write: fn(f64) -> String| value.map_or("–".to_owned(), write);
    let row = |name: &str, cell: &dyn Fn(Side) -> (Ink, String)| {
        Side::BOTH.into_iter().fold(Line::default().with(Ink::Faint, format!(" {name}")), |line, side| {
            let (ink, text) = cell(side);
            line.to(NAMES + SIDE * side as usize).with(ink, text)
        })
    };
    let reading = |side: Side| view.readings[side as usize];
    [
        weights(view),
        row("requests/s", &|side| (Ink::Plain, format!("{:.0}", reading(side).rate))),
        row("errors", &|side| {
            (alarm(reading(side).errors), written(reading(side).errors, |e| percent(e * 100.0)))
        }),
        row("p50", &|side| (Ink::Plain, written(reading(side).p50, milliseconds))),
        row("p95", &|side| (Ink::Plain, written(reading(side).p95, milliseconds))),
    ]
}

fn weights(view: &View) -> Line {
    Side::BOTH.into_iter().fold(Line::default().with(Ink::Faint, " weight"), |line, side| {
        let weight = view.scrape.sides[side as usize].weight;
        let (full, rest) = fader(weight);
        line.to(NAMES + SIDE * side as usize)
            .with(Ink::Bold, format!("{:<6} ", percent(weight * 100.0)))
            .with(Ink::Of(side), full)
            .with(Ink::Faint, rest)
    })
}

/// A bar to the eighth of a column, and what is left of it.
fn fader(share: f64) -> (String, String) {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (FADER * 8) as f64).round() as usize;
    let full = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    let rest = "·".repeat(FADER - eighths.div_ceil(8));
    (full, rest)
}

fn alarm(errors: Option<f64>) -> Ink {
    if errors.is_some_and(|errors| errors >= 0.1) { Ink::Bad } else { Ink::Plain }
}

fn people(view: &View) -> [Line; 3] {
    let View { tally, habits, scrape, .. } = view;
    let named = |name: &str| Line::default().with(Ink::Faint, format!(" {name}")).to(NAMES);
    let none_or_bad = |count: u64| if count == 0 { Ink::Good } else { Ink::Bad };
    let [old, new] = habits.at;
    [
        named("visitors")
            .with(Ink::Plain, format!("{}, ", plural(tally.requests(), "request")))
            .with(none_or_bad(tally.lost), format!("{} lost by the proxy", grouped(tally.lost)))
            .with(Ink::Plain, format!("; {} by {}", plural(tally.errors[1], "error"), Side::New.name())),
        named("regulars").with(
            Ink::Plain,
            format!(
                "{REGULARS} with a cookie: {old} on {}, {new} on {}; only shifts move them",
                Side::Old.name(),
                Side::New.name()
            ),
        ),
        named("connections")
            .with(Ink::Plain, format!("{} open, ", grouped(tally.open)))
            .with(none_or_bad(tally.closed), format!("{} closed by the proxy", grouped(tally.closed)))
            .with(Ink::Plain, format!("; configuration at revision {}", scrape.revision)),
    ]
}

fn next(view: &View) -> Line {
    match &view.chronicle.next {
        Some((at, words)) => event(Ink::Faint, " next", *at, words),
        None => Line::default(),
    }
}

/// The latest events, the last of them first and in bold.
fn events(view: &View) -> Vec<Line> {
    let latest = view.chronicle.entries.iter().rev().take(EVENTS).enumerate();
    let line = |(age, (at, words)): (usize, &(Duration, String))| match age {
        0 => event(Ink::Bold, " ▶", *at, words),
        _ => event(Ink::Faint, "", *at, words),
    };
    latest.map(line).collect()
}

fn event(ink: Ink, mark: &str, at: Duration, words: &str) -> Line {
    let line = Line::default().with(ink, mark).to(NAMES - 6).with(Ink::Faint, clock(at)).to(NAMES);
    line.with(ink, words)
}

fn hands_on(view: &View, places: &Places) -> Vec<Line> {
    let last = if view.chronicle.is_handed_over {
        "The weights are yours. Ctrl-C ends the demo."
    } else {
        "With your first change the weights are yours. Ctrl-C ends it."
    };
    let rule = Line::default().with(Ink::Faint, format!(" {}", "─".repeat(COLUMNS - 2)));
    let named = |(name, text): (&str, String)| {
        Line::default().with(Ink::Faint, format!(" {name}")).to(NAMES).with(Ink::Plain, text)
    };
    let mut lines = vec![rule];
    lines.extend(invitation(places).map(named));
    lines.push(Line::default().to(NAMES).with(Ink::Faint, last));
    lines
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::demo::meter::Scrape;
    use crate::demo::readings::Reading;
    use crate::demo::stage::Doors;

    fn places(length: Option<Duration>) -> Places {
        let [http, metrics, admin] = [65_001, 65_002, 65_003].map(|port| ([127, 0, 0, 1], port).into());
        let doors = Doors { http, metrics, admin };
        let folder = PathBuf::from("/tmp/crossfade-demo-0123abcd");
        Places { doors, folder, token: "f".repeat(32), length }
    }

    fn busy() -> View {
        let reading =
            Reading { requests: 1e3, rate: 99_999.0, errors: Some(0.123), p50: Some(0.1), p95: Some(9.0) };
        let mut view = View {
            readings: [reading; 2],
            scrape: Scrape { revision: 9999, ..Scrape::default() },
            ..View::default()
        };
        view.tally.answered = [9_999_999, 9_999_999];
        view.tally.errors = [9_999, 9_999];
        view.now = Duration::from_secs(59_999);
        view.habits.at = [100, 0];
        view.chronicle.next = Some((view.now, "w".repeat(COLUMNS - NAMES)));
        view.scrape.sides[0].weight = 1.0;
        for second in 0..20 {
            view.chronicle.entries.push((Duration::from_secs(second * 60), "w".repeat(COLUMNS - NAMES)));
        }
        view
    }

    #[test]
    fn a_page_fits_the_smallest_terminal() {
        let mut handed_over = busy();
        handed_over.chronicle.is_handed_over = true;
        for view in [busy(), handed_over, View::default()] {
            let lines = page(&view, &places(Some(view.now)));
            assert_eq!(lines.len(), ROWS);
            for line in lines {
                assert!(line.width() <= COLUMNS, "{}", line.painted(false));
            }
        }
    }

    #[test]
    fn without_colour_there_is_no_control_character() {
        let lines = page(&busy(), &places(None));
        assert!(lines.iter().all(|line| !line.painted(false).contains('\x1b')));
        assert!(lines.iter().any(|line| line.painted(true).contains(Ink::Bad.code())));
    }

    #[test]
    fn a_fader_shows_even_one_percent() {
        assert_eq!(fader(0.0), (String::new(), "·".repeat(FADER)));
        assert_eq!(fader(0.01).0, "▎");
        assert_eq!(fader(1.0), ("█".repeat(FADER), String::new()));
        for percent in 0..=100 {
            let (full, rest) = fader(f64::from(percent) / 100.0);
            assert_eq!(full.chars().count() + rest.chars().count(), FADER);
        }
    }
}
