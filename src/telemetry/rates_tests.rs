//! Tests of `rates`: what is read from counters, second by second.

use super::*;

/// Totals of a pair whose requests all took between 5 and 10 ms.
fn totals(requests: u64, errors: u64) -> Totals {
    let mut durations = [0; BOUNDS.len() + 1];
    durations[3] = requests;
    Totals { requests, errors, durations, answers: requests, up: true, weight: 0.5, ..Totals::default() }
}

fn pair(route: &str, backend: &str) -> Pair {
    (route.to_owned(), backend.to_owned())
}

/// Pushes second `at` with these pairs.
fn push(rates: &mut Rates, at: u64, pairs: &[(&str, &str, Totals)]) {
    let totals = pairs.iter().map(|(route, backend, totals)| (pair(route, backend), totals.clone()));
    rates.push(Duration::from_secs(at), 1_000_000.0 + at as f64, totals.collect());
}

fn rate(rates: &Rates, backend: &str) -> Option<f64> {
    rates.now("web", backend)?.point.requests_per_second
}

#[test]
fn a_reading_covers_the_last_ten_seconds() {
    let mut rates = Rates::default();
    for second in 0..=30_u64 {
        // 100 a second, and from second 20 on 10 errors a second.
        let errors = second.saturating_sub(20) * 10;
        push(&mut rates, second, &[("web", "fly", totals(second * 100, errors))]);
    }
    let reading = rates.now("web", "fly").unwrap();
    assert_eq!(reading.point.requests_per_second, Some(100.0));
    assert_eq!(reading.point.error_ratio, Some(0.1));
    assert_eq!((reading.point.p50, reading.point.weight), (Some(0.0075), Some(0.5)));
    assert_eq!((reading.up, reading.last_answer), (true, Some(Duration::ZERO)));
    assert_eq!(rates.window(), Duration::from_secs(10));
    assert_eq!((rates.now("web", "none"), rates.now("none", "fly")), (None, None));
}

#[test]
fn without_requests_there_is_a_rate_of_zero_and_nothing_else() {
    let mut rates = Rates::default();
    push(&mut rates, 0, &[("web", "fly", totals(5, 5))]);
    assert_eq!(rates.now("web", "fly").unwrap().point.requests_per_second, None, "one second says nothing");
    push(&mut rates, 1, &[("web", "fly", totals(5, 5))]);
    let point = rates.now("web", "fly").unwrap().point;
    assert_eq!(point, Point { requests_per_second: Some(0.0), weight: Some(0.5), ..Point::default() });
}

#[test]
fn a_rate_goes_by_the_time_that_passed() {
    let mut rates = Rates::default();
    push(&mut rates, 0, &[("web", "fly", totals(0, 0))]);
    push(&mut rates, 4, &[("web", "fly", totals(100, 0))]);
    assert_eq!(rate(&rates, "fly"), Some(25.0));
}

#[test]
fn a_pair_that_goes_and_comes_back_counts_from_zero() {
    // Gone for a second; gone and back between two looks.
    for gone in [true, false] {
        let mut rates = Rates::default();
        for second in 0..5 {
            push(&mut rates, second, &[("web", "fly", totals(second * 100, second * 100))]);
        }
        if gone {
            push(&mut rates, 5, &[]);
            assert_eq!(rates.now("web", "fly"), None);
        }
        push(&mut rates, 6, &[("web", "fly", totals(40, 0))]);
        let point = rates.now("web", "fly").unwrap().point;
        let seconds = if gone { 1.0 } else { 2.0 };
        assert_eq!(
            (point.requests_per_second, point.error_ratio),
            (Some(40.0 / seconds), Some(0.0)),
            "{gone}"
        );
        assert_eq!(point.p50, Some(0.0075));
    }
}

#[test]
fn what_is_new_counts_from_its_first_second_on() {
    let mut rates = Rates::default();
    push(&mut rates, 0, &[]);
    push(&mut rates, 1, &[("web", "fly", totals(30, 0))]);
    assert_eq!(rate(&rates, "fly"), Some(30.0));
}

#[test]
fn a_backend_answers_on_whatever_route() {
    let mut rates = Rates::default();
    let last = |rates: &Rates, route: &str| rates.now(route, "fly").unwrap().last_answer;
    push(&mut rates, 0, &[("web", "fly", totals(0, 0)), ("api", "fly", totals(0, 0))]);
    assert_eq!(last(&rates, "web"), None);
    push(&mut rates, 1, &[("web", "fly", totals(0, 0)), ("api", "fly", totals(1, 0))]);
    push(&mut rates, 4, &[("web", "fly", totals(0, 0)), ("api", "fly", totals(1, 0))]);
    assert_eq!(last(&rates, "web"), Some(Duration::from_secs(3)));
    push(&mut rates, 5, &[]);
    push(&mut rates, 6, &[("web", "fly", totals(0, 0))]);
    assert_eq!(last(&rates, "web"), None, "another backend of that name");
}

#[test]
fn a_point_comes_every_five_seconds_and_180_are_kept() {
    let mut rates = Rates::default();
    for second in 0..=1000 {
        let fast = if second > 990 { (second - 990) * 10 } else { 0 };
        let mut pairs = vec![("web", "heroku", totals(second * 2 + fast, 0))];
        if second >= 988 {
            pairs.push(("web", "fly", totals(second - 988, 0)));
        }
        push(&mut rates, second, &pairs);
    }
    let chart = rates.chart();
    assert_eq!((rates.pointed(), chart.at.len()), (200, 180));
    assert_eq!((chart.at[0], chart.at[179]), (1_000_105.0, 1_001_000.0));
    let [fly, heroku] = &chart.lines[..] else { panic!("{:?}", chart.lines.len()) };
    let last =
        |line: &ChartLine| line.points[176..].iter().map(|p| p.requests_per_second).collect::<Vec<_>>();
    assert_eq!(last(heroku), [Some(2.0), Some(2.0), Some(12.0), Some(12.0)]);
    assert_eq!(last(fly), [None, Some(2.0 / 3.0), Some(1.0), Some(1.0)]);
    assert_eq!((fly.points.len(), heroku.points.len(), &*fly.backend), (180, 180, "fly"));
}

#[test]
fn memory_is_bounded() {
    let mut rates = Rates::default();
    let names: Vec<String> = (0..CHART_LINES + 50).map(|number| format!("r{number:04}")).collect();
    let mut pairs: Vec<_> = names.iter().map(|name| (&**name, "fly", totals(0, 0))).collect();
    (0..30).for_each(|second| push(&mut rates, second, &pairs));
    assert_eq!(rates.chart().lines.len(), CHART_LINES);
    assert!(rates.tracks.values().all(|track| track.seconds.len() == READING_SECONDS + 1));
    pairs.insert(0, ("a", "fly", totals(0, 0)));
    (30..60).for_each(|second| push(&mut rates, second, &pairs));
    assert_eq!(rates.chart().lines.len(), CHART_LINES, "one came, one had to go");
    push(&mut rates, 60, &[]);
    assert_eq!((rates.chart().lines.len(), rates.tracks.len(), rates.answered.len()), (0, 0, 0));
}

#[test]
fn quantiles_are_those_of_prometheus() {
    let buckets = [(0.1, 10.0), (0.2, 20.0), (f64::INFINITY, 40.0)];
    let near = |q: f64, expected: f64| assert!((quantile(q, &buckets).unwrap() - expected).abs() < 1e-9);
    near(0.125, 0.05);
    near(0.375, 0.15);
    near(0.95, 0.2);
    assert_eq!(quantile(0.5, &[]), None);
}
