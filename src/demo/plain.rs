//! The view as plain lines: what is said before and after, and a line a second where nobody watches a
//! terminal.
//!
//! `screen` writes them. Pipes, files and logs read them: there must never be a control character in them.

use std::time::Duration;

use super::Side;
use super::view::{Places, View, clock, grouped, percent, plural};
use super::visitors::{RATE, REGULARS};

/// What to know before it begins.
pub(super) fn greeting(places: &Places) -> Vec<String> {
    let mut lines = vec![
        format!("Crossfade demo: {RATE} requests a second move from one platform to another, live."),
        "The proxy is the real one; the two platforms and the visitors are samples.".to_owned(),
        String::new(),
    ];
    lines.extend(invitation(places).into_iter().map(|(label, text)| format!("  {label:<11}{text}")));
    lines.push(String::new());
    lines
}

/// What to try by hand.
pub(super) fn invitation(places: &Places) -> [(&'static str, String); 4] {
    let Places { doors, folder, token, .. } = places;
    [
        ("dashboard", format!("http://{}/#token={token}", doors.admin)),
        ("steer", format!("crossfade shift fly 30% --state {}", folder.display())),
        ("visit", format!("curl -i http://{}/", doors.http)),
        ("measure", format!("curl http://{}/metrics", doors.metrics)),
    ]
}

/// What the columns of [`second`] are.
pub(super) fn heading() -> [String; 2] {
    let [old, new] = Side::BOTH.map(Side::name);
    let columns = "weight  req/s  errors    p50/p95";
    [format!("{:<7}{old:<34}{new}", ""), format!("{:>5}  {columns}  {columns}  {:>4}", "time", "lost")]
}

/// One second in one line.
pub(super) fn second(view: &View) -> String {
    let [old, new] = Side::BOTH.map(|side| columns(view, side));
    format!("{:>5}  {old}  {new}  {:>4}", clock(view.now), view.tally.lost)
}

fn columns(view: &View, side: Side) -> String {
    let reading = view.readings[side as usize];
    let weight = percent(view.scrape.sides[side as usize].weight * 100.0);
    let errors = reading.errors.map_or("-".to_owned(), |errors| percent(errors * 100.0));
    let latency = match (reading.p50, reading.p95) {
        (Some(p50), Some(p95)) => format!("{:.0}/{:.0} ms", p50 * 1000.0, p95 * 1000.0),
        _ => "-".to_owned(),
    };
    format!("{weight:>6}  {:>5.0}  {errors:>6}  {latency:>9}", reading.rate)
}

/// Something that happened.
pub(super) fn event(at: Duration, words: &str) -> String {
    format!("{:>5}  -- {words}", clock(at))
}

/// What was seen, at the end.
pub(super) fn summary(view: &View) -> Vec<String> {
    let View { tally, habits, chronicle, .. } = view;
    let (old, new) = (Side::Old.name(), Side::New.name());
    let [by_old, by_new] = tally.answered.map(grouped);
    let mut lines = vec![
        format!("Seen in {:.0} s:", view.now.as_secs_f64()),
        format!(
            "  {}: {} lost by the proxy, {} closed by it",
            plural(tally.requests(), "request"),
            tally.lost,
            plural(tally.closed, "connection"),
        ),
        format!(
            "  {old} answered {by_old}, {new} {by_new}, with {} of its own",
            plural(tally.errors[1], "error")
        ),
    ];
    let shifts = &chronicle.shifts;
    if let (Some(least), Some(most)) = (shifts.iter().min(), shifts.iter().max()) {
        let [least, most] = [least, most].map(|took| took.as_secs_f64() * 1000.0);
        let count = plural(shifts.len() as u64, "shift");
        lines.push(format!("  {count} by command, live after {least:.0} to {most:.0} ms"));
    }
    if let Some(trouble) = chronicle.rollback {
        let (new, trouble) = (Side::New.name(), trouble.as_secs_f64());
        lines.push(format!(
            "  {trouble:.1} s from {new}'s first trouble until nobody was sent there any more"
        ));
    }
    lines.push(format!(
        "  {REGULARS} regulars with a cookie: none changed platform more than {}",
        plural(u64::from(habits.moves), "time"),
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::meter::Scrape;
    use crate::demo::readings::Reading;

    #[test]
    fn lines_are_aligned_and_fit_eighty_columns() {
        let mut view = View { scrape: Scrape::default(), ..View::default() };
        let empty = second(&view);
        view.readings[1] = Reading {
            requests: 500.0,
            rate: 199.6,
            errors: Some(0.025),
            p50: Some(0.0214),
            p95: Some(0.0482),
        };
        view.scrape.sides[1].weight = 0.995;
        let full = second(&view);
        assert_eq!(empty, " 0:00     0 %      0       -          -     0 %      0       -          -     0");
        assert_eq!(full, " 0:00     0 %      0       -          -  99.5 %    200   2.5 %   21/48 ms     0");
        assert_eq!([heading()[1].len(), empty.len()], [full.len(); 2]);
        assert!(full.len() <= 80);
    }

    #[test]
    fn the_summary_fits_eighty_columns_and_tells_of_losses() {
        let mut view = View { now: Duration::from_secs(3600), ..View::default() };
        view.tally.answered = [1_234_567, 1_234_567];
        view.tally.errors[1] = 12_345;
        view.tally.lost = 3;
        view.chronicle.shifts = vec![Duration::from_millis(46), Duration::from_millis(103)];
        view.chronicle.rollback = Some(Duration::from_millis(650));
        let lines = summary(&view);
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:#?}");
        assert!(lines[1].contains("2,469,137 requests: 3 lost by the proxy"), "{}", lines[1]);
        assert!(lines[3].contains("2 shifts by command, live after 46 to 103 ms"), "{}", lines[3]);
    }
}
