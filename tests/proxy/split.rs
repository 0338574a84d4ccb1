//! Requests go where the weights, the visitor's bucket or a pin say.

use std::collections::BTreeSet;

use crate::kit::{Backend, Config, Proxy, Visitor, ok};

/// Two backends that answer with their names, and a proxy with this route.
fn two(route: &str, section: &str) -> (Proxy, [Backend; 2]) {
    let backends = [Backend::answering(ok("old")), Backend::answering(ok("new"))];
    let config = Config::new()
        .backend("old", &backends[0].url(), "")
        .backend("new", &backends[1].url(), "")
        .route(&format!("stable = \"old\"\n{route}"))
        .section(section);
    (Proxy::start(&config), backends)
}

/// Who answers a GET with these fields, and what cookie it sets.
fn ask(visitor: &mut Visitor, fields: &str) -> (String, Option<String>) {
    visitor.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let response = visitor.response();
    assert_eq!(response.status(), 200);
    (response.text(), response.field("set-cookie").map(str::to_owned))
}

#[test]
fn two_thousand_requests_are_split_exactly() {
    let (proxy, _backends) = two("weights = { old = 95, new = 5 }", "");
    let mut visitor = proxy.visit();
    let mut answers = Vec::new();
    for _ in 0..20 {
        visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
        answers.extend((0..100).map(|_| visitor.response().text() == "new"));
    }
    let new = |window: &[bool]| window.iter().filter(|new| **new).count();
    assert!(new(&answers).abs_diff(100) <= 2, "{} of 2000 went to 5 %", new(&answers));
    for (at, window) in answers.windows(100).enumerate() {
        assert!(new(window).abs_diff(5) <= 2, "{} of the hundred from {at} on", new(window));
    }
    let counted = |backend| proxy.metric("crossfade_requests_total", &[("backend", backend)]) as usize;
    assert_eq!((counted("old"), counted("new")), (2000 - new(&answers), new(&answers)));
}

#[test]
fn weight_zero_means_none() {
    let (proxy, backends) = two("weights = { old = 1, new = 0 }", "");
    let mut visitor = proxy.visit();
    (0..200).for_each(|_| assert_eq!(ask(&mut visitor, "").0, "old"));
    assert_eq!(backends[1].accepted(), 0);
    assert!(proxy.metric("crossfade_weight_ratio", &[("backend", "new")]).abs() < 1e-9);
}

#[test]
fn a_pin_reaches_the_new_platform_at_zero() {
    let (proxy, _backends) =
        two("weights = { old = 1, new = 0 }\npin = { header = \"X-Pin\", cookie = \"pin\" }", "");
    let mut visitor = proxy.visit();
    for (fields, expected) in [
        ("X-Pin: new\r\n", "new"),
        ("Cookie: x=y; pin=new\r\n", "new"),
        ("X-Pin: old\r\nCookie: pin=new\r\n", "old"),
        ("X-Pin: unknown\r\n", "old"),
        ("Cookie: pin=\r\n", "old"),
        ("", "old"),
    ] {
        assert_eq!(ask(&mut visitor, fields).0, expected, "{fields:?}");
    }
    let chosen: Vec<_> = proxy.records().iter().map(|record| record["chosen_by"].clone()).collect();
    assert_eq!(chosen, ["pin", "pin", "pin", "sequence", "sequence", "sequence"]);
}

#[test]
fn the_sticky_cookie_is_set_once_and_keeps_its_visitor() {
    let (proxy, _backends) = two("weights = { old = 1, new = 1 }\nsticky = \"cookie\"", "");
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let mut visitor = proxy.visit();
        let (first, cookie) = ask(&mut visitor, "");
        let cookie = cookie.expect("a new visitor gets a bucket");
        assert!(cookie.contains("; HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
        let pair = cookie.split(';').next().unwrap().to_owned();
        let bucket: u16 = pair.strip_prefix("crossfade=").unwrap().parse().unwrap();
        assert!(bucket < 10_000);
        for _ in 0..10 {
            let again = ask(&mut visitor, &format!("Cookie: a=b; {pair}\r\n"));
            assert_eq!(again, (first.clone(), None), "the same side, and no new cookie");
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both sides get visitors");
}

#[test]
fn a_cookie_over_https_is_secure() {
    let (proxy, _backends) = two(
        "weights = { old = 1, new = 1 }\nsticky = \"cookie\"",
        "[forwarded]\nx_proto = 1\ntrusted = [\"127.0.0.1\"]",
    );
    let (_, cookie) = ask(&mut proxy.visit(), "X-Forwarded-Proto: https\r\n");
    assert!(cookie.is_some_and(|cookie| cookie.ends_with("; Secure")));
}

#[test]
fn a_visitor_of_an_address_stays_on_its_side() {
    let (proxy, _backends) = two(
        "weights = { old = 1, new = 1 }\nsticky = \"client-address\"",
        "[forwarded]\nx_for = 1\ntrusted = [\"127.0.0.1\"]",
    );
    let mut sides = BTreeSet::new();
    for last in 0..30 {
        let fields = format!("X-Forwarded-For: 203.0.113.{last}\r\n");
        let (first, cookie) = ask(&mut proxy.visit(), &fields);
        assert_eq!(cookie, None);
        (0..3).for_each(|_| assert_eq!(ask(&mut proxy.visit(), &fields).0, first, "{fields}"));
        sides.insert(first);
    }
    assert_eq!(sides.len(), 2, "both sides get visitors");
}

#[test]
fn a_shift_moves_nobody_back_and_forth() {
    let route = |percent: u32| {
        format!(
            "stable = \"old\"\nsticky = {{ header = \"X-Account\" }}\nweights = {{ old = {}, new = {percent} }}",
            100 - percent
        )
    };
    let backends = [Backend::answering(ok("old")), Backend::answering(ok("new"))];
    let config = |percent| {
        Config::new()
            .backend("old", &backends[0].url(), "")
            .backend("new", &backends[1].url(), "")
            .route(&route(percent))
    };
    let proxy = Proxy::start(&config(0));
    let mut visitor = proxy.visit();
    let mut moved = [false; 200];
    for (revision, percent) in [(1, 0), (2, 1), (3, 5), (4, 25), (5, 100)] {
        std::fs::write(proxy.config_path(), config(percent).text()).unwrap();
        proxy.wait_for_metric("crossfade_revision", &[], f64::from(revision));
        for (account, moved) in moved.iter_mut().enumerate() {
            let new = ask(&mut visitor, &format!("X-Account: {account}\r\n")).0 == "new";
            assert!(new || !*moved, "account {account} went back at {percent} %");
            *moved = new;
        }
        let share = moved.iter().filter(|moved| **moved).count() as u32 * 100 / 200;
        assert!(share.abs_diff(percent) <= 10, "{share} % of visitors at {percent} %");
    }
    assert!(moved.iter().all(|moved| *moved));
}
