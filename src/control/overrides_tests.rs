//! Tests of `overrides`: what is laid on a file, lifted from it, and kept of it.

use super::*;
use crate::config::load;

/// Two routes: `web` over heroku (stable) and fly with a pin, `api` over three backends.
pub(crate) fn file(web: &str) -> Config {
    let text = format!(
        r#"
        [server]
        http = "127.0.0.1:8080"
        [backends.aws]
        url = "https://aws.example"
        [backends.fly]
        url = "https://fly.example"
        [backends.heroku]
        url = "https://heroku.example"
        [[routes]]
        name = "web"
        stable = "heroku"
        {web}
        pin = {{ header = "X-Crossfade-Backend" }}
        [[routes]]
        name = "api"
        path = "/api"
        stable = "heroku"
        weights = {{ heroku = 70, fly = 20, aws = 10 }}
        "#
    );
    load(&text, &|_| None).unwrap_or_else(|problems| panic!("{}", problems.render("x", &text, false))).config
}

fn state(weights: &[(&str, f64)]) -> RouteState {
    let weights = weights.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect();
    RouteState { weights, mode: Mode::Open, rolled_back: false }
}

fn live(file: &Config, overrides: &Overrides) -> RouteState {
    overrides.state(file, &file.routes[0])
}

const FIVE: &str = "weights = { heroku = 95, fly = 5 }";

#[test]
fn what_is_laid_is_what_serves() {
    let file = file(FIVE);
    let mut overrides = Overrides::default();
    overrides.lay(&file, &file.routes[0], &state(&[("heroku", 75.0), ("fly", 25.0)]), 7).unwrap();
    let served = overrides.laid_on(&file);
    assert_eq!(served.routes[0].weights.parts(), [250_000, 750_000]);
    assert_eq!(served.routes[0].pin, file.routes[0].pin);
    assert_eq!(served.routes[1], file.routes[1]);
    assert_eq!(live(&file, &overrides), state(&[("fly", 25.0), ("heroku", 75.0)]));
    assert_eq!(overrides.since().collect::<Vec<_>>(), [("web", 7)]);
}

#[test]
fn a_rollback_takes_pins_along() {
    let file = file(FIVE);
    let mut overrides = Overrides::default();
    let back = RouteState { rolled_back: true, ..live(&file, &overrides) };
    overrides.lay(&file, &file.routes[0], &back, 0).unwrap();
    let served = overrides.laid_on(&file);
    assert_eq!(served.routes[0].weights.parts(), [0, 1_000_000]);
    assert_eq!(served.routes[0].pin, Pin::default());
    let shown = RouteState { rolled_back: true, ..state(&[("fly", 0.0), ("heroku", 100.0)]) };
    assert_eq!(live(&file, &overrides), shown);
}

#[test]
fn what_the_file_says_already_is_no_override() {
    let file = file(FIVE);
    let mut overrides = Overrides::default();
    let maintenance = RouteState { mode: Mode::Maintenance, ..live(&file, &overrides) };
    overrides.lay(&file, &file.routes[0], &maintenance, 0).unwrap();
    assert_eq!(overrides.laid_on(&file).routes[0].mode, Mode::Maintenance);
    overrides.lay(&file, &file.routes[0], &state(&[("heroku", 95.0), ("fly", 5.0)]), 0).unwrap();
    assert!(overrides.is_empty());
}

#[test]
fn the_file_wins_once_it_says_something_else() {
    let before = file(FIVE);
    let mut overrides = Overrides::default();
    let laid = RouteState { mode: Mode::Maintenance, ..state(&[("heroku", 50.0), ("fly", 50.0)]) };
    overrides.lay(&before, &before.routes[0], &laid, 0).unwrap();
    let table: [(&str, bool, bool, &[&str]); 5] = [
        (FIVE, true, true, &[]),
        // The same shares in other words.
        ("weights = { heroku = 19, fly = 1 }", true, true, &[]),
        ("weights = { heroku = 90, fly = 10 }", false, true, &["web"]),
        // Who gets nothing may come and go.
        ("weights = { heroku = 95, fly = 5, aws = 0 }", true, true, &[]),
        ("weights = { heroku = 95, fly = 5 }\nmode = \"maintenance\"", true, false, &["web"]),
    ];
    for (web, keeps_weights, keeps_mode, lifted) in table {
        let (after, mut overrides) = (file(web), overrides.clone());
        assert_eq!(overrides.lift_for(&after), lifted, "{web}");
        let served = &overrides.laid_on(&after).routes[0];
        let fly = served.backends.iter().position(|backend| name(&after, *backend) == "fly").unwrap();
        assert_eq!(served.weights.ratio(fly) == 0.5, keeps_weights, "{web}");
        let by_override = overrides.0.get("web").is_some_and(|laid| laid.mode.is_some());
        assert_eq!(by_override, keeps_mode, "{web}");
    }
    let mut gone = before.clone();
    gone.routes.remove(0);
    assert_eq!(overrides.lift_for(&gone), ["web"]);
    assert!(overrides.is_empty());
}

/// A backend that was only added brought the visitors back to the one that had been given up.
#[test]
fn a_backend_that_is_added_at_zero_lifts_no_rollback() {
    let before = file(FIVE);
    let mut overrides = Overrides::default();
    let back = RouteState { rolled_back: true, ..live(&before, &overrides) };
    overrides.lay(&before, &before.routes[0], &back, 0).unwrap();
    let after = file("weights = { heroku = 95, fly = 5, aws = 0 }");
    assert!(overrides.lift_for(&after).is_empty());
    assert!(live(&after, &overrides).rolled_back);
    assert_eq!(live(&after, &overrides).weights["aws"], 0.0);
}

/// The words of a start without a file are always the same.
#[test]
fn another_app_inherits_nothing() {
    let started_for = |words: &str| Config { words: Some(words.to_owned()), ..file(FIVE) };
    let (first, second) = (started_for("a b"), started_for("a c"));
    let mut overrides = Overrides::default();
    overrides.lay(&first, &first.routes[0], &state(&[("heroku", 0.0), ("fly", 100.0)]), 0).unwrap();
    assert!(overrides.clone().lift_for(&first).is_empty());
    assert_eq!(overrides.lift_for(&second), ["web"]);
}

#[test]
fn another_stable_backend_lifts_a_rollback() {
    let before = file(FIVE);
    let mut overrides = Overrides::default();
    let back = RouteState { rolled_back: true, ..live(&before, &overrides) };
    overrides.lay(&before, &before.routes[0], &back, 0).unwrap();
    let mut after = before.clone();
    after.routes[0].stable = after.routes[0].backends[0];
    assert_eq!(overrides.lift_for(&after), ["web"]);
}

/// A state file may be anybody's.
#[test]
fn overrides_that_fit_nothing_are_lifted() {
    let file = file(FIVE);
    let over = r#"{"stable":"heroku","weights":{"fly":5.0,"heroku":95.0}}"#;
    for placed in
        [r#"{"weights":{"mars":100.0}}"#, r#"{"weights":{"fly":0.0}}"#, r#"{"weights":{"fly":-1.0}}"#]
    {
        let text = format!(r#"{{"web":{{"split":{{"value":{placed},"over":{over}}},"since":1}}}}"#);
        let mut overrides: Overrides = serde_json::from_str(&text).unwrap();
        assert_eq!(overrides.laid_on(&file).routes[0].weights, file.routes[0].weights, "{text}");
        assert_eq!(overrides.lift_for(&file), ["web"], "{text}");
    }
    let text = format!(r#"{{"web":{{"split":{{"value":"rolled-back","over":{over}}},"since":1}}}}"#);
    let mut overrides: Overrides = serde_json::from_str(&text).unwrap();
    assert!(overrides.lift_for(&file).is_empty());
    assert!(live(&file, &overrides).rolled_back);
}

#[test]
fn overrides_survive_being_kept() {
    let file = file(FIVE);
    let mut overrides = Overrides::default();
    // No finite number of digits in tens.
    let thirds = state(&[("heroku", 100.0 / 3.0), ("fly", 200.0 / 3.0)]);
    overrides.lay(&file, &file.routes[0], &thirds, 3).unwrap();
    let text = serde_json::to_string(&overrides).unwrap();
    assert_eq!(serde_json::from_str::<Overrides>(&text).unwrap(), overrides);
}

#[test]
fn changes_are_what_differs() {
    let file = file(FIVE);
    let (before, mut after) = (Overrides::default(), Overrides::default());
    after.lay(&file, &file.routes[0], &state(&[("heroku", 75.0), ("fly", 25.0)]), 0).unwrap();
    let found = changes(&before.states(&file), &after.states(&file));
    assert_eq!(found.iter().map(|change| change.route.as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!(found[0].to.as_ref().unwrap().weights["fly"], 25.0);
    assert!(changes(&after.states(&file), &after.states(&file)).is_empty());
}
