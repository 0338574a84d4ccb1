//! The live view as a whole: what it looks like, and what keys do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::desk::{Desk, Effect};
use super::link::News;
use super::page::draw;
use super::scene::Scene;
use crate::admin::types::{BackendStatus, RouteStatus, Status};
use crate::config::limits::WATCH_STALE;
use crate::config::model::Mode;
use crate::control::command::{CommandBody, CommandName};
use crate::control::record::{Change, Record, RouteState};

fn backend(name: &str, weight: f64, rate: f64) -> BackendStatus {
    let known = |value: f64| (rate > 0.0).then_some(value);
    BackendStatus {
        name: name.to_owned(),
        urls: Vec::new(),
        weight,
        file_weight: weight,
        up: name != "aws",
        instead: None,
        endpoints: Vec::new(),
        last_answer_seconds: known(0.4),
        requests_per_second: rate,
        error_ratio: known(if name == "aws" { 0.034 } else { 0.001 }),
        p50: known(0.012),
        p95: known(0.045),
        p99: known(1.31),
        in_flight: rate as i64 / 10,
        tunnels: i64::from(name == "heroku") * 3,
    }
}

fn route(name: &str, backends: Vec<BackendStatus>) -> RouteStatus {
    RouteStatus {
        name: name.to_owned(),
        hosts: vec!["www.example.com".to_owned()],
        path: format!("/{name}"),
        mode: Mode::Open,
        stable: "heroku".to_owned(),
        rolled_back: false,
        overridden: false,
        backends,
    }
}

fn record(revision: u64, via: &str, command: &str, undoes: Option<u64>) -> Record {
    let state = |fly: f64| RouteState {
        weights: BTreeMap::from([("fly".to_owned(), fly), ("heroku".to_owned(), 100.0 - fly)]),
        mode: Mode::Open,
        rolled_back: false,
    };
    let change = Change { route: "web".to_owned(), from: Some(state(0.5)), to: Some(state(5.0)) };
    Record {
        revision,
        at: "2026-11-21T01:58:00Z".to_owned(),
        actor: "anna".to_owned(),
        via: via.to_owned(),
        command: command.to_owned(),
        reason: None,
        changes: if via == "start" { Vec::new() } else { vec![change] },
        undoes,
    }
}

fn status() -> Status {
    let mut web = route("web", vec![backend("heroku", 95.0, 228.0), backend("fly", 5.0, 12.0)]);
    web.backends[1].file_weight = 0.5;
    web.overridden = true;
    let mut api = route("api", vec![backend("heroku", 100.0, 60.0), backend("fly", 0.0, 0.0)]);
    (api.rolled_back, api.mode) = (true, Mode::Maintenance);
    let three = vec![backend("heroku", 70.0, 70.0), backend("aws", 29.5, 29.5), backend("fly", 0.5, 0.5)];
    Status {
        version: "0.1.0".to_owned(),
        revision: 12,
        at: "2026-11-21T02:00:07.5Z".to_owned(),
        started: "2026-11-20T22:00:00Z".to_owned(),
        draining: false,
        config_refused: None,
        state_trouble: None,
        window_seconds: 10.0,
        routes: vec![web, api, route("static", three)],
        history: vec![record(12, "socket", "shift fly 5%", None), record(11, "start", "start", None)],
    }
}

fn scene(status: &Status) -> (Scene, Instant) {
    let now = Instant::now();
    let mut scene = Scene::new("/var/lib/crossfade/admin.sock".to_owned(), true, status.clone(), now);
    for second in 8..38 {
        let mut status = status.clone();
        status.at = format!("2026-11-21T02:00:{second:02}Z");
        status.routes[0].backends[1].requests_per_second = f64::from(second) * 6.0;
        scene.learn(News::Status(Box::new(status)), now);
    }
    (scene, now)
}

fn drawn(scene: &Scene, now: Instant, width: u16, height: u16) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw(scene, now, area, &mut buffer);
    buffer
}

fn text(buffer: &Buffer) -> String {
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

#[test]
fn it_fits_the_smallest_terminal_and_uses_a_larger_one() {
    let (scene, now) = scene(&status());
    let screens = [(80, 24, include_str!("tests/80x24.txt")), (120, 40, include_str!("tests/120x40.txt"))];
    for (width, height, expected) in screens {
        let shown = text(&drawn(&scene, now, width, height));
        assert!(shown == expected, "{width}x{height}:\n{shown}");
    }
}

#[test]
fn whatever_is_wrong_comes_first_and_the_question_stays() {
    let mut wrong = status();
    wrong.config_refused =
        Some("error: unknown key `workrs` in [server]\n --> crossfade.toml:3\n".to_owned());
    wrong.state_trouble = Some("/var/lib/crossfade/journal: No space left on device".to_owned());
    wrong.draining = true;
    let (mut scene, now) = scene(&wrong);
    assert_eq!(scene.press(key(KeyCode::Char('R'))), None);
    let shown = text(&drawn(&scene, now, 80, 24));
    assert!(shown == include_str!("tests/trouble.txt"), "80x24:\n{shown}");
    // What was wrong may be right by now; nobody knows.
    scene.learn(News::Lost("no proxy there, nobody listens".to_owned()), now);
    let shown = text(&drawn(&scene, now + Duration::from_secs(7), 80, 24));
    assert!(shown.contains("! STALE for 7 s: no proxy there, nobody listens; trying again"), "{shown}");
    assert!(shown.contains("roll back EVERY route") && !shown.contains("! draining"), "{shown}");
}

#[test]
fn what_isnt_as_usual_is_seen_however_many_hosts_there_are() {
    let mut crowded = status();
    for route in &mut crowded.routes {
        route.hosts = (1..9).map(|n| format!("shop-{n}.example.com")).collect();
    }
    (crowded.routes[0].rolled_back, crowded.routes[0].mode) = (true, Mode::Maintenance);
    let extra = (1..5).map(|n| backend(&format!("extra-{n}"), 0.0, 0.0));
    crowded.routes[0].backends.extend(extra);
    let (scene, now) = scene(&crowded);
    let shown = text(&drawn(&scene, now, 80, 24));
    let expected = " ▶ web  [MAINTENANCE]  [ROLLED BACK]  [differs from the file]  4 more: Tab  sho…";
    assert_eq!(shown.lines().nth(1), Some(expected), "{shown}");
}

#[test]
fn that_there_was_no_proxy_is_forgotten_once_there_is_one() {
    let (mut scene, now) = scene(&status());
    for (absent, stays) in [(true, false), (false, true)] {
        if absent {
            scene.say_absent("no proxy there");
        } else {
            scene.say("it may have been done", true);
        }
        scene.learn(News::Lost("nobody listens".to_owned()), now);
        assert!(scene.message.is_some());
        scene.learn(News::Status(Box::new(status())), now);
        assert_eq!(scene.message.is_some(), stays);
    }
}

#[test]
fn silence_is_told_as_soon_as_it_means_something() {
    let (mut scene, now) = scene(&status());
    assert_eq!(scene.stale(now + WATCH_STALE), None);
    let late = now + WATCH_STALE + Duration::from_millis(1);
    assert!(text(&drawn(&scene, late, 80, 24)).contains("! STALE for 3 s"));
    scene.learn(News::Status(Box::new(status())), late);
    assert!(!text(&drawn(&scene, late, 80, 24)).contains("STALE"));
}

#[test]
fn no_size_of_a_terminal_breaks_it() {
    let (mut scene, now) = scene(&status());
    scene.say(&"words ".repeat(100), true);
    for (width, height) in (0..140).step_by(3).flat_map(|width| (0..50).step_by(3).map(move |h| (width, h))) {
        let shown = text(&drawn(&scene, now, width, height));
        assert!(width < 60 || height < 4 || shown.contains("q quit"), "{width}x{height}:\n{shown}");
    }
}

#[test]
fn without_colour_there_is_none() {
    let (mut scene, now) = scene(&status());
    let coloured =
        |scene: &Scene| drawn(scene, now, 80, 24).content.iter().any(|cell| cell.fg != Color::Reset);
    assert!(coloured(&scene));
    scene.colour = false;
    assert!(!coloured(&scene));
}

/// The desk and what the last of these keys came to.
fn pressed(keys: &str) -> (Desk, Option<Effect>) {
    let mut desk = Desk::default();
    let mut effect = None;
    for name in keys.split(' ') {
        let event = match name {
            "up" => key(KeyCode::Up),
            "down" => key(KeyCode::Down),
            "left" => key(KeyCode::Left),
            "right" => key(KeyCode::Right),
            "LEFT" => KeyEvent::new(KeyCode::Left, KeyModifiers::SHIFT),
            "RIGHT" => KeyEvent::new(KeyCode::Right, KeyModifiers::SHIFT),
            "tab" => key(KeyCode::Tab),
            "enter" => key(KeyCode::Enter),
            "esc" => key(KeyCode::Esc),
            "ctrl-c" => KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL),
            letter => key(KeyCode::Char(letter.chars().next().unwrap())),
        };
        effect = desk.press(event, &status());
    }
    (desk, effect)
}

fn sent(keys: &str) -> Option<CommandBody> {
    match pressed(keys).1 {
        Some(Effect::Send(body)) => Some(*body),
        Some(Effect::Say(_) | Effect::Quit) | None => None,
    }
}

fn shift(route: &str, backend: &str, percent: f64) -> Option<CommandBody> {
    Some(CommandBody {
        route: Some(route.to_owned()),
        backend: Some(backend.to_owned()),
        percent: Some(percent),
        if_revision: Some(12),
        ..CommandBody::of(CommandName::Shift)
    })
}

fn rollback(route: Option<&str>) -> Option<CommandBody> {
    Some(CommandBody { route: route.map(str::to_owned), ..CommandBody::of(CommandName::Rollback) })
}

#[test]
fn keys_choose_a_share_and_only_y_sends_it() {
    for (keys, expected) in [
        ("right enter y", shift("web", "fly", 6.0)),
        ("RIGHT RIGHT enter Y", shift("web", "fly", 25.0)),
        ("> + = - enter y", shift("web", "fly", 16.0)),
        ("LEFT enter y", shift("web", "fly", 0.0)),
        ("down down tab right enter y", shift("static", "fly", 1.0)),
        ("down down tab > > > > > > > > enter y", shift("static", "fly", 70.5)),
        ("down down right enter y", shift("static", "aws", 30.0)),
        ("down down left enter y", shift("static", "aws", 29.0)),
        ("down down up right enter y", shift("api", "fly", 1.0)),
        ("right enter r y", shift("web", "fly", 6.0)),
        ("right enter enter", None),
        ("right enter n y", None),
        ("right enter esc enter y", None),
        ("right left enter y", None),
        ("right esc enter y", None),
        ("right down up enter y", None),
        ("right y", None),
        ("enter y", None),
        ("y", None),
    ] {
        assert_eq!(sent(keys), expected, "{keys}");
    }
}

#[test]
fn a_rollback_goes_through_whatever_is_live_and_an_undo_is_what_was_read() {
    let undo =
        CommandBody { revision: Some(12), if_revision: Some(12), ..CommandBody::of(CommandName::Undo) };
    for (keys, expected) in [
        ("r y", rollback(Some("web"))),
        ("down r y", rollback(Some("api"))),
        ("down R y", rollback(None)),
        ("u y", Some(undo)),
        ("r n", None),
        ("u esc y", None),
    ] {
        assert_eq!(sent(keys), expected, "{keys}");
    }
}

#[test]
fn questions_say_what_will_be_sent() {
    for (keys, expected) in [
        ("right enter", "shift web: fly 5 -> 6 %"),
        ("down r", "roll back api: everything to heroku at once"),
        ("R", "roll back EVERY route (web, api, static): everything to stable at once"),
        ("u", "undo revision 12, shift fly 5% by anna (web: heroku 99.5 -> 95 %, fly 0.5 -> 5 %)"),
    ] {
        assert_eq!(pressed(keys).0.question().unwrap().words, expected, "{keys}");
    }
}

#[test]
fn it_ends_by_q_and_even_amid_a_question_by_control_c() {
    for (keys, ends) in [("q", true), ("r q", false), ("r ctrl-c", true), ("ctrl-c", true), ("x", false)] {
        assert_eq!(pressed(keys).1 == Some(Effect::Quit), ends, "{keys}");
    }
}

#[test]
fn what_is_undone_next_is_the_last_that_stands() {
    for (records, expected) in [
        (vec![(12, "file", None), (11, "socket", None)], Some(11)),
        (vec![(12, "socket", Some(11)), (11, "admin", None), (10, "socket", None)], Some(10)),
        (vec![(13, "socket", Some(12)), (12, "socket", Some(11)), (11, "socket", None)], Some(11)),
        (vec![(13, "socket", Some(10)), (12, "socket", Some(12)), (11, "socket", None)], None),
        (vec![], None),
    ] {
        let mut status = status();
        status.history = records.iter().map(|(n, via, undoes)| record(*n, via, "shift", *undoes)).collect();
        let mut desk = Desk::default();
        desk.press(key(KeyCode::Char('u')), &status);
        let Some(Effect::Send(body)) = desk.press(key(KeyCode::Char('y')), &status) else {
            panic!("{records:?}")
        };
        assert_eq!(body.revision, expected, "{records:?}");
    }
}
