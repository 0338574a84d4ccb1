//! Edits of the configuration file are live at once, whichever way they were made, and a bad one changes
//! nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::kit::{Backend, Config, Proxy, Visitor, ok, wait_until};

const RELOADS: &str = "crossfade_config_reloads_total";
const SUCCESSFUL: &str = "crossfade_config_last_reload_successful";
const RATIO: &str = "crossfade_weight_ratio";

/// Two backends that answer with their names.
struct Two {
    old: Backend,
    new: Backend,
}

impl Two {
    fn start() -> Self {
        Self { old: Backend::answering(ok("old")), new: Backend::answering(ok("new")) }
    }

    /// A configuration that gives `new` so many per cent.
    fn at(&self, percent: u32) -> Config {
        let weights = format!("stable = \"old\"\nweights = {{ old = {}, new = {percent} }}", 100 - percent);
        self.with(&weights)
    }

    fn with(&self, route: &str) -> Config {
        Config::new().backend("old", &self.old.url(), "").backend("new", &self.new.url(), "").route(route)
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// Changes the file by `change` and waits until `visitor` is served by `expected`; says how long it took.
fn live_after(visitor: &mut Visitor, expected: &str, change: impl FnOnce()) -> Duration {
    change();
    let since = Instant::now();
    wait_until("the change is live", || {
        let response = visitor.get("/");
        assert_eq!(response.status(), 200, "not a request fails");
        response.text() == expected
    });
    since.elapsed()
}

/// The measured times; machines with other work to do get more than the promised 250 ms.
fn are_prompt(way: &str, times: &[Duration]) {
    println!("live after {way}: {times:?}");
    assert!(times.iter().all(|time| *time < Duration::from_secs(1)), "{way}: {times:?}");
}

#[test]
fn a_change_of_weights_written_in_place_is_live_at_once() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    let mut visitor = proxy.visit();
    let times: Vec<_> = [(100, "new"), (0, "old"), (100, "new"), (0, "old")]
        .map(|(percent, name)| {
            live_after(&mut visitor, name, || write(&proxy.config_path(), &two.at(percent).text()))
        })
        .into();
    are_prompt("writing in place", &times);
    assert_eq!(proxy.metric(RELOADS, &[("result", "success")]) as u64, 4);
    assert_eq!(proxy.metric("crossfade_revision", &[]) as u64, 5);
}

#[test]
fn a_change_made_by_renaming_over_it_is_live_at_once() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    let mut visitor = proxy.visit();
    let beside = proxy.directory.path().join(".crossfade.toml.swp");
    let times: Vec<_> = [(100, "new"), (0, "old"), (100, "new")]
        .map(|(percent, name)| {
            live_after(&mut visitor, name, || {
                write(&beside, &two.at(percent).text());
                fs::rename(&beside, proxy.config_path()).unwrap();
            })
        })
        .into();
    are_prompt("renaming", &times);
}

#[test]
fn a_change_made_by_removing_and_writing_anew_is_live_at_once() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    let mut visitor = proxy.visit();
    for (percent, name) in [(100, "new"), (0, "old")] {
        live_after(&mut visitor, name, || {
            fs::rename(proxy.config_path(), proxy.directory.path().join("crossfade.toml~")).unwrap();
            write(&proxy.config_path(), &two.at(percent).text());
        });
    }
    assert_eq!(proxy.metric(SUCCESSFUL, &[]) as u64, 1);
}

#[test]
fn a_swap_of_a_symlinked_directory_is_live_at_once() {
    let two = Two::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let version = |name: &str, percent: u32| {
        fs::create_dir(at(name)).unwrap();
        write(&at(name).join("crossfade.toml"), &two.at(percent).text());
    };
    version("..1", 0);
    symlink("..1", at("..data")).unwrap();
    symlink("..data/crossfade.toml", at("crossfade.toml")).unwrap();
    let root = directory.path().to_owned();
    let path = root.join("crossfade.toml");
    version("..2", 100);
    version("..3", 0);
    let proxy = Proxy::start_in(directory, &path);
    let mut visitor = proxy.visit();
    let times: Vec<_> = [("..2", "new"), ("..3", "old")]
        .map(|(next, name)| {
            live_after(&mut visitor, name, || {
                symlink(next, root.join("..data_tmp")).unwrap();
                fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
            })
        })
        .into();
    are_prompt("swapping a symlink", &times);
}

#[test]
fn a_file_that_is_not_good_changes_nothing_but_is_told() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    let mut visitor = proxy.visit();
    let whole = two.at(100).text();
    let half = &whole[..whole.len() / 2];
    let wrong = whole.replace("stable = \"old\"", "stable = \"olt\"");
    let ca = whole
        .replace("[[routes]]", "[backends.x]\nurl = \"https://x\"\nca_file = \"/nowhere/ca\"\n[[routes]]");
    for (failures, (text, told)) in
        [("", "the file is empty"), (half, "refused"), (wrong.as_str(), "olt"), (ca.as_str(), "/nowhere/ca")]
            .into_iter()
            .enumerate()
    {
        write(&proxy.config_path(), text);
        wait_until("the failure is told", || {
            assert_eq!(visitor.get("/").text(), "old", "the last good configuration serves on");
            proxy.metric(RELOADS, &[("result", "failure")]) as usize == failures + 1
        });
        assert_eq!(proxy.metric(SUCCESSFUL, &[]) as u64, 0);
        let (status, body) = proxy.told_at("/readyz");
        assert_eq!(status, 200, "it is as ready as before");
        assert!(body.contains(told) && body.contains("refused"), "{body}");
        proxy.wait_for_event("config.refused");
    }
    let took = live_after(&mut visitor, "new", || write(&proxy.config_path(), &whole));
    are_prompt("mending a broken file", &[took]);
    proxy.wait_for_metric(SUCCESSFUL, &[], 1.0);
    assert_eq!(proxy.told_at("/readyz").1, "ready\nrevision 2\n");
    assert_eq!(proxy.metric("crossfade_requests_total", &[("code", "502")]) as u64, 0);
}

#[test]
fn a_file_that_goes_away_is_told_and_its_return_is_live() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    let mut visitor = proxy.visit();
    fs::remove_file(proxy.config_path()).unwrap();
    proxy.wait_for_metric(RELOADS, &[("result", "failure")], 1.0);
    assert_eq!(visitor.get("/").text(), "old");
    assert!(proxy.told_at("/readyz").1.contains("can't read"));
    live_after(&mut visitor, "new", || write(&proxy.config_path(), &two.at(100).text()));
    assert_eq!(proxy.metric(SUCCESSFUL, &[]) as u64, 1);
}

#[test]
fn a_hangup_reads_the_file_even_if_it_is_the_same() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    proxy.signal("HUP");
    proxy.wait_for_metric(RELOADS, &[("result", "success")], 1.0);
    proxy.signal("HUP");
    proxy.wait_for_metric("crossfade_revision", &[], 3.0);
    assert_eq!(proxy.get("/").text(), "old");
}

#[test]
fn a_touch_without_a_change_is_no_reload() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    let mut visitor = proxy.visit();
    write(&proxy.config_path(), &two.at(0).text());
    live_after(&mut visitor, "new", || write(&proxy.config_path(), &two.at(100).text()));
    assert_eq!(proxy.metric(RELOADS, &[]) as u64, 1);
}

#[test]
fn series_of_a_removed_backend_vanish_and_all_others_stay() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(50));
    let mut visitor = proxy.visit();
    (0..10).for_each(|_| drop(visitor.get("/")));
    let count = |backend| proxy.metric("crossfade_requests_total", &[("backend", backend)]) as u64;
    assert_eq!((count("old"), count("new")), (5, 5));
    assert!((proxy.metric(RATIO, &[("backend", "new")]) - 0.5).abs() < 1e-9);
    let alone = Config::new().backend("old", &two.old.url(), "").route("stable = \"old\"");
    write(&proxy.config_path(), &alone.text());
    proxy.wait_for_metric("crossfade_revision", &[], 2.0);
    (0..10).for_each(|_| drop(visitor.get("/")));
    assert_eq!(count("old"), 15, "what stays goes on");
    for family in ["crossfade_requests_total", RATIO, "crossfade_backend_up", "crossfade_bytes_total"] {
        assert!(!proxy.has_series(family, &[("backend", "new")]), "{family} of a backend that is gone");
        assert!(proxy.has_series(family, &[("backend", "old")]), "{family}");
    }
    write(&proxy.config_path(), &two.at(100).text());
    proxy.wait_for_metric("crossfade_revision", &[], 3.0);
    (0..10).for_each(|_| drop(visitor.get("/")));
    assert_eq!((count("old"), count("new")), (15, 10), "who returns starts anew");
}

#[test]
fn connections_on_both_sides_survive_twenty_reloads() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    let mut visitor = proxy.visit();
    for revision in 2..22 {
        let percent = if revision % 2 == 0 { 100 } else { 0 };
        write(&proxy.config_path(), &two.at(percent).text());
        proxy.wait_for_metric("crossfade_revision", &[], f64::from(revision));
        assert_eq!(visitor.get("/").text(), if percent == 100 { "new" } else { "old" });
    }
    assert_eq!((two.old.accepted(), two.new.accepted()), (1, 1), "pools survive reloads");
    assert_eq!(proxy.metric("crossfade_requests_total", &[]) as u64, 20);
}

#[test]
fn a_request_in_flight_ends_by_the_configuration_it_began_with() {
    let slow = Backend::start(|mut peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
            peer.await_word();
            peer.send("6\r\nsecond\r\n0\r\n\r\n");
        }
    });
    let other = Backend::answering(ok("other"));
    let config = Config::of(&slow);
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.next();
    write(&proxy.config_path(), &Config::of(&other).text());
    proxy.wait_for_metric("crossfade_revision", &[], 2.0);
    assert_eq!(proxy.get("/").text(), "other");
    slow.go_on();
    let response = visitor.response();
    assert!(response.whole && response.text() == "firstsecond", "{response:?}");
}

#[test]
fn what_needs_a_restart_is_said() {
    let two = Two::start();
    let proxy = Proxy::start(&two.at(0));
    write(&proxy.config_path(), &two.at(100).server("drain_timeout = \"3s\"").text());
    assert!(proxy.wait_for_event("config.needs-restart").contains("server.drain_timeout"));
    proxy.wait_for_metric("crossfade_revision", &[], 2.0);
    assert_eq!(proxy.get("/").text(), "new", "the rest is live");
}

#[test]
fn a_change_made_the_moment_it_serves_is_not_missed() {
    let two = Two::start();
    for _ in 0..3 {
        let proxy = Proxy::start(&two.at(0));
        write(&proxy.config_path(), &two.at(100).text());
        proxy.wait_for_metric("crossfade_revision", &[], 2.0);
        assert_eq!(proxy.get("/").text(), "new");
    }
}
