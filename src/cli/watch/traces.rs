//! The last minute of each backend of each route, for the small charts.
//!
//! The live view notes each status in it. It must never draw a gap as a value.

use std::collections::{BTreeMap, VecDeque};

use crate::admin::types::{Line, Series, Status};
use crate::config::limits::WATCH_SECONDS;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    /// Requests a second.
    Rate,
    /// The share of errors.
    Errors,
    /// What 95 of 100 requests took at most.
    P95,
}

/// The last minute.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// The second that was noted last.
    now: i64,
    lines: BTreeMap<(String, String), VecDeque<Point>>,
}

/// A second and its figures.
type Point = (i64, [Option<f64>; 3]);

impl Traces {
    /// Begins with what the proxy has kept.
    pub(super) fn of(series: &Series) -> Self {
        let mut traces = Self::default();
        let step = i64::try_from(series.step_seconds).unwrap_or(1).clamp(1, 60);
        for line in &series.lines {
            for (point, at) in series.at.iter().enumerate() {
                for back in (0..step).rev() {
                    traces.note(*at as i64 - back, &line.route, &line.backend, figures(line, point));
                }
            }
        }
        traces
    }

    /// Goes on with what is now, at this second since 1970.
    pub(super) fn see(&mut self, second: i64, status: &Status) {
        for route in &status.routes {
            for backend in &route.backends {
                let figures = [Some(backend.requests_per_second), backend.error_ratio, backend.p95];
                self.note(second, &route.name, &backend.name, figures);
            }
        }
    }

    /// The last minute as so many signs, against the largest value of any of the route's backends.
    pub(super) fn drawn(&self, route: &str, backend: &str, figure: Figure, width: usize) -> String {
        let of_route = self.lines.iter().filter(|((name, _), _)| name == route);
        let values = of_route.flat_map(|(_, points)| points).filter(|(at, _)| *at > self.now - SECONDS);
        let largest =
            values.filter_map(|(_, figures)| figures[figure as usize]).fold(figure.least(), f64::max);
        let points = self.lines.get(&(route.to_owned(), backend.to_owned()));
        let width = width.min(WATCH_SECONDS);
        let sign = |place: usize| {
            let from = self.now - SECONDS + (place * WATCH_SECONDS / width) as i64;
            let to = self.now - SECONDS + ((place + 1) * WATCH_SECONDS / width) as i64;
            let inside = points.into_iter().flatten().filter(|(at, _)| from < *at && *at <= to);
            let value = inside.filter_map(|(_, figures)| figures[figure as usize]).reduce(f64::max);
            value.map_or(' ', |value| SIGNS[(value / largest * 7.0).ceil().clamp(0.0, 7.0) as usize])
        };
        (0..width).map(sign).collect()
    }

    fn note(&mut self, second: i64, route: &str, backend: &str, figures: [Option<f64>; 3]) {
        self.now = self.now.max(second);
        let points = self.lines.entry((route.to_owned(), backend.to_owned())).or_default();
        if points.back().is_some_and(|(last, _)| *last >= second) {
            points.pop_back();
        }
        points.push_back((second, figures));
        while points.front().is_some_and(|(first, _)| *first <= second - SECONDS) {
            points.pop_front();
        }
    }
}

impl Figure {
    /// The least that a chart's height means, so that next to nothing looks like it.
    fn least(self) -> f64 {
        match self {
            Self::Rate => 1.0,
            Self::Errors => 0.01,
            Self::P95 => 0.001,
        }
    }
}

const SECONDS: i64 = WATCH_SECONDS as i64;
const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

fn figures(line: &Line, point: usize) -> [Option<f64>; 3] {
    let of = |values: &[Option<f64>]| values.get(point).copied().flatten();
    [of(&line.requests_per_second), of(&line.error_ratio), of(&line.p95)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: &[(i64, f64)], width: usize) -> String {
        let mut traces = Traces::default();
        for (second, value) in points {
            traces.note(*second, "web", "fly", [Some(*value), None, None]);
        }
        traces.drawn("web", "fly", Figure::Rate, width)
    }

    #[test]
    fn a_minute_fits_any_width_and_its_end_is_now() {
        assert_eq!(drawn(&[(1000, 0.0), (1030, 7.0), (1060, 14.0)], 6), "  ▅  █");
        assert_eq!(drawn(&[(1001, 0.0), (1030, 7.0), (1060, 14.0)], 6), "▁ ▅  █");
        assert_eq!(drawn(&[(1060, 14.0)], 200).chars().count(), WATCH_SECONDS);
        assert_eq!(drawn(&[], 3), "   ");
        assert_eq!(drawn(&[(5, 1.0)], 0), "");
    }

    #[test]
    fn a_second_has_one_value_and_both_sides_one_scale() {
        assert_eq!(drawn(&[(60, 14.0), (60, 7.0), (61, 14.0)], 60).trim_start(), "▅█");
        let mut traces = Traces::default();
        traces.note(60, "web", "heroku", [Some(70.0), None, None]);
        traces.note(60, "web", "fly", [Some(10.0), None, None]);
        traces.note(60, "api", "fly", [Some(1000.0), None, None]);
        assert_eq!(traces.drawn("web", "fly", Figure::Rate, 1), "▂");
        assert_eq!(traces.drawn("web", "fly", Figure::P95, 1), " ");
    }

    #[test]
    fn it_begins_with_what_the_proxy_has_kept() {
        let none = vec![None, None];
        let line = Line {
            route: "web".to_owned(),
            backend: "fly".to_owned(),
            requests_per_second: vec![Some(7.0), Some(14.0)],
            error_ratio: none.clone(),
            p50: none.clone(),
            p95: none.clone(),
            p99: none.clone(),
            weight: none,
        };
        let traces = Traces::of(&Series { step_seconds: 5, at: vec![1000.0, 1005.0], lines: vec![line] });
        assert_eq!(traces.drawn("web", "fly", Figure::Rate, 60).trim_start(), "▅▅▅▅▅█████");
    }
}
