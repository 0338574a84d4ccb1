//! Tests of `metrics`: what a scrape says of what was counted.

use std::time::Duration;

use super::*;

const REASONS: Reasons = Reasons {
    failures: &["connect-refused", "reset"],
    retries: &["stale-connection"],
    rejections: &["bad-host", "no-route"],
};

fn metrics(shares: &[(&str, &str, f64)]) -> Metrics {
    let metrics = Metrics::new("1.2.3", REASONS);
    reconcile(&metrics, shares);
    metrics
}

fn reconcile(metrics: &Metrics, shares: &[(&str, &str, f64)]) {
    let share = |&(route, backend, weight_ratio): &(_, _, _)| {
        let is_stable = backend == "heroku";
        Share { route, backend, weight_ratio, is_stable, mode: "open" }
    };
    metrics.reconcile(&shares.iter().map(share).collect::<Vec<_>>());
}

/// The value of the sample written so, where there is one.
fn value(metrics: &Metrics, sample: &str) -> Option<f64> {
    let text = metrics.encode();
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

const WEB: &[(&str, &str, f64)] = &[("web", "heroku", 0.95), ("web", "fly", 0.05)];

#[test]
fn rates_exist_before_the_first_request() {
    let metrics = metrics(WEB);
    for zero in [
        r#"crossfade_requests_total{route="web",backend="fly",method="GET",code="200"}"#,
        r#"crossfade_request_duration_seconds_count{route="web",backend="fly"}"#,
        r#"crossfade_first_byte_seconds_bucket{route="web",backend="fly",le="0.001"}"#,
        r#"crossfade_first_byte_seconds_bucket{route="web",backend="fly",le="60"}"#,
        r#"crossfade_backend_connect_seconds_sum{backend="fly"}"#,
        r#"crossfade_backend_failures_total{route="web",backend="fly",reason="reset"}"#,
        r#"crossfade_retries_total{route="web",backend="fly",reason="stale-connection"}"#,
        r#"crossfade_requests_in_flight{route="web",backend="fly"}"#,
        r#"crossfade_tunnels_open{route="web",backend="fly"}"#,
        r#"crossfade_bytes_total{route="web",backend="fly",direction="in"}"#,
        r#"crossfade_mode{route="web",mode="hold"}"#,
        r#"crossfade_held_requests{route="web"}"#,
        r#"crossfade_config_reloads_total{result="failure"}"#,
        r#"crossfade_rejected_requests_total{reason="no-route"}"#,
        r#"crossfade_ejections_total{backend="fly"}"#,
        r#"crossfade_probes_total{backend="fly",result="passed"}"#,
        r#"crossfade_probes_total{backend="fly",result="failed"}"#,
        "crossfade_access_log_dropped_total",
        "crossfade_panics_total",
        "crossfade_revision",
    ] {
        assert_eq!(value(&metrics, zero), Some(0.0), "{zero}");
    }
    for (sample, expected) in [
        (r#"crossfade_weight_ratio{route="web",backend="fly"}"#, 0.05),
        (r#"crossfade_stable{route="web",backend="fly"}"#, 0.0),
        (r#"crossfade_stable{route="web",backend="heroku"}"#, 1.0),
        (r#"crossfade_backend_up{backend="fly"}"#, 1.0),
        (r#"crossfade_mode{route="web",mode="open"}"#, 1.0),
        (r#"crossfade_build_info{version="1.2.3"}"#, 1.0),
    ] {
        assert_eq!(value(&metrics, sample), Some(expected), "{sample}");
    }
    assert!(!metrics.encode().contains("\"none\"") && !metrics.encode().contains("\"other\""));
}

#[test]
fn counts_of_all_workers_and_snapshots_add_up() {
    let metrics = metrics(WEB);
    let sample = r#"crossfade_requests_total{route="web",backend="fly",method="GET",code="200"}"#;
    for round in 1..=100 {
        let workers = [metrics.series("web", "fly"), metrics.series("web", "fly")];
        workers.iter().for_each(|worker| worker.request(MethodLabel::Get, 200));
        reconcile(&metrics, WEB);
        assert_eq!(value(&metrics, sample), Some(2.0 * f64::from(round)));
    }
    let odd = metrics.series("web", "fly");
    odd.request(MethodLabel::Other, 999);
    let sample = r#"crossfade_requests_total{route="web",backend="fly",method="OTHER",code="other"}"#;
    assert_eq!(value(&metrics, sample), Some(1.0));
}

#[test]
fn what_is_gone_is_removed_from_every_family_and_the_rest_stays() {
    let metrics = metrics(WEB);
    let (stays, goes) = (metrics.series("web", "heroku"), metrics.series("web", "fly"));
    let backend = metrics.backend("fly");
    let open = (stays.in_flight(), goes.in_flight());
    stays.request(MethodLabel::Post, 302);
    reconcile(&metrics, &[("web", "heroku", 1.0)]);
    assert!(!metrics.encode().contains("fly"));
    goes.request(MethodLabel::Get, 200);
    backend.connect(Duration::from_millis(3));
    metrics.series("web", "fly").failure("reset");
    let posted = r#"crossfade_requests_total{route="web",backend="heroku",method="POST",code="302"}"#;
    let in_flight = r#"crossfade_requests_in_flight{route="web",backend="heroku"}"#;
    assert_eq!((value(&metrics, posted), value(&metrics, in_flight)), (Some(1.0), Some(1.0)));
    drop(open);
    assert_eq!(value(&metrics, in_flight), Some(0.0));
    assert!(!metrics.encode().contains("fly"));
}

#[test]
fn names_that_join_to_the_same_text_are_apart() {
    let metrics = metrics(&[("ab", "c", 1.0), ("a", "bc", 1.0)]);
    metrics.series("ab", "c").bytes_out(7);
    assert_eq!(
        value(&metrics, r#"crossfade_bytes_total{route="ab",backend="c",direction="out"}"#),
        Some(7.0)
    );
    assert_eq!(
        value(&metrics, r#"crossfade_bytes_total{route="a",backend="bc",direction="out"}"#),
        Some(0.0)
    );
}

#[test]
fn requests_without_a_backend_count_under_none() {
    let metrics = metrics(WEB);
    metrics.unrouted().request(MethodLabel::Get, 400);
    metrics.rejected("no-route");
    for sample in [
        r#"crossfade_requests_total{route="none",backend="none",method="GET",code="400"}"#,
        r#"crossfade_rejected_requests_total{reason="no-route"}"#,
    ] {
        assert_eq!(value(&metrics, sample), Some(1.0), "{sample}");
    }
}

#[test]
fn histograms_are_cumulative_and_in_seconds() {
    let metrics = metrics(WEB);
    let series = metrics.series("web", "fly");
    [2, 20, 61_000].iter().for_each(|&ms| series.duration(Duration::from_millis(ms)));
    let bucket = |le: &str| {
        let name = "crossfade_request_duration_seconds_bucket";
        value(&metrics, &format!(r#"{name}{{route="web",backend="fly",le="{le}"}}"#)).unwrap()
    };
    assert_eq!(["0.001", "0.0025", "0.025", "60", "+Inf"].map(bucket), [0.0, 1.0, 2.0, 2.0, 3.0]);
    let sum = r#"crossfade_request_duration_seconds_sum{route="web",backend="fly"}"#;
    assert_eq!(value(&metrics, sum), Some(61.022));
}

#[test]
fn reloads_connections_and_the_rest_are_told() {
    let metrics = metrics(WEB);
    let connection = metrics.connections("0.0.0.0:80", 1).open();
    metrics.reloaded(UNIX_EPOCH + Duration::from_millis(1_700_000_000_500));
    metrics.reload_failed();
    metrics.revision(7);
    metrics.backend("fly").usable(0);
    metrics.backend("fly").ejected();
    metrics.backend("fly").probed(false);
    for (sample, expected) in [
        (r#"crossfade_connections_open{listener="0.0.0.0:80"}"#, 1.0),
        (r#"crossfade_worker_connections_open{worker="1"}"#, 1.0),
        (r#"crossfade_config_reloads_total{result="success"}"#, 1.0),
        (r#"crossfade_config_reloads_total{result="failure"}"#, 1.0),
        ("crossfade_config_last_reload_successful", 0.0),
        ("crossfade_config_last_reload_success_timestamp_seconds", 1_700_000_000.5),
        ("crossfade_revision", 7.0),
        (r#"crossfade_backend_up{backend="fly"}"#, 0.0),
        (r#"crossfade_endpoints_usable{backend="fly"}"#, 0.0),
        (r#"crossfade_ejections_total{backend="fly"}"#, 1.0),
        (r#"crossfade_probes_total{backend="fly",result="failed"}"#, 1.0),
    ] {
        assert_eq!(value(&metrics, sample), Some(expected), "{sample}");
    }
    drop(connection);
    assert_eq!(value(&metrics, r#"crossfade_connections_open{listener="0.0.0.0:80"}"#), Some(0.0));
}

#[test]
fn every_line_is_a_sample_of_a_family_with_help_and_type() {
    let text = metrics(WEB).encode();
    let mut family = "";
    for line in text.lines() {
        match line.strip_prefix("# HELP ") {
            Some(help) => family = help.split(' ').next().unwrap(),
            None => assert!(line.trim_start_matches("# TYPE ").starts_with(family), "{line}"),
        }
    }
    assert!(cfg!(not(target_os = "linux")) || text.contains("process_resident_memory_bytes "));
}
