//! Whether stable is able to take the load, in a sentence for each route: what somebody who rolls back has to know.
//!
//! The Controller adds it to what it answers. It must never keep a rollback from happening.

use crate::control::status::RouteShown;
use crate::telemetry::rates::Reading;
use crate::telemetry::readings::Readings;

/// A sentence for each of the routes, which are rolled back.
pub(super) fn of_stable<'a>(
    routes: impl Iterator<Item = &'a RouteShown>,
    readings: &Readings,
) -> Vec<String> {
    let reading = |route: &RouteShown| readings.now(&route.name, &route.stable);
    routes.map(|route| sentence(&route.name, &route.stable, &reading(route))).collect()
}

fn sentence(route: &str, stable: &str, reading: &Reading) -> String {
    let answered = reading.last_answer.map(|ago| format!("it answered {} ago", shown(ago.as_secs_f64())));
    let health = match (reading.up, answered) {
        (false, None) => {
            "IS DOWN: no endpoint of it is fit for requests, and it hasn't answered since the start"
                .to_owned()
        }
        (false, Some(answered)) => format!("IS DOWN: no endpoint of it is fit for requests; {answered}"),
        (true, None) => {
            "hasn't been asked since the start: whether it can take the load shows now".to_owned()
        }
        (true, Some(answered)) => {
            let rate = reading.point.requests_per_second.unwrap_or(0.0);
            let errors = match reading.point.error_ratio {
                Some(ratio) => format!(", {:.1} % errors", ratio * 100.0),
                None => String::new(),
            };
            format!("is up: {answered}, {rate:.1} requests/s{errors}")
        }
    };
    format!("{route}: stable `{stable}` {health}")
}

/// `0.4 s`, `12 s`, `3 min`, `2 h`.
fn shown(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::rates::Point;

    #[test]
    fn stable_is_described_as_far_as_is_known() {
        let reading = |up, ago: Option<u64>, rate, errors| Reading {
            point: Point { requests_per_second: Some(rate), error_ratio: errors, ..Point::default() },
            up,
            last_answer: ago.map(Duration::from_secs),
            ..Reading::default()
        };
        let table = [
            (
                reading(true, Some(2), 12.0, Some(0.015)),
                "is up: it answered 2.0 s ago, 12.0 requests/s, 1.5 % errors",
            ),
            (reading(true, Some(7300), 0.0, None), "is up: it answered 2 h ago, 0.0 requests/s"),
            (
                reading(true, None, 0.0, None),
                "hasn't been asked since the start: whether it can take the load shows now",
            ),
            (
                reading(false, Some(200), 0.0, None),
                "IS DOWN: no endpoint of it is fit for requests; it answered 3 min ago",
            ),
        ];
        for (reading, words) in table {
            assert_eq!(sentence("web", "heroku", &reading), format!("web: stable `heroku` {words}"));
        }
    }
}
