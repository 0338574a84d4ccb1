//! Endpoints that are known to fail get no requests, nor does a backend that is known to be down; and both get them
//! again once they are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::kit::backend::Refusing;
use crate::kit::certificates::Authority;
use crate::kit::{Backend, Config, Proxy, ok, wait_until};

const UP: &str = "crossfade_backend_up";
const USABLE: &str = "crossfade_endpoints_usable";
const EJECTIONS: &str = "crossfade_ejections_total";
const PROBES: &str = "crossfade_probes_total";
const FAILURES: &str = "crossfade_backend_failures_total";
/// Probes that decide within a moment.
const OFTEN: &str = "health = { path = \"/up\", interval = \"20ms\", timeout = \"10s\", rise = 1, fall = 2 }";
const SICK: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// A backend that answers with its name while it is well, and with 503 while it isn't; it counts its visitors.
struct Patient {
    backend: Backend,
    well: Arc<AtomicBool>,
    visits: Arc<AtomicUsize>,
}

impl Patient {
    fn new(name: &'static str) -> Self {
        let (well, visits) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
        let (is_well, count) = (Arc::clone(&well), Arc::clone(&visits));
        let backend = Backend::by(move |request| {
            if request.target() != "/up" {
                count.fetch_add(1, SeqCst);
            }
            if is_well.load(SeqCst) { ok(name) } else { SICK.to_owned() }
        });
        Self { backend, well, visits }
    }

    fn sick(name: &'static str) -> Self {
        let this = Self::new(name);
        this.is_well(false);
        this
    }

    fn is_well(&self, well: bool) {
        self.well.store(well, SeqCst);
    }

    fn url(&self) -> String {
        self.backend.url()
    }

    fn visits(&self) -> usize {
        self.visits.load(SeqCst)
    }
}

/// Everything goes to `fly`; stable is `heroku`.
fn all_to_fly(heroku: &str, fly: &str, health: &str, route: &str) -> Config {
    let weights = "weights = { heroku = 0, fly = 100 }";
    Config::new()
        .backend("heroku", heroku, "")
        .backend("fly", fly, health)
        .route(&format!("stable = \"heroku\"\n{weights}\n{route}"))
}

/// One backend of several endpoints.
fn several(urls: &[String], health: &str) -> Config {
    Config::new().section(&format!("[backends.only]\nurls = {urls:?}\n{health}"))
}

fn unhealthy(proxy: &Proxy) -> f64 {
    proxy.metric(FAILURES, &[("backend", "fly"), ("reason", "unhealthy")])
}

#[test]
fn a_backend_whose_probes_fail_gets_nothing_until_they_are_good_again() {
    let (stable, fly) = (Patient::new("heroku"), Patient::new("fly"));
    let proxy = Proxy::start(&all_to_fly(&stable.url(), &fly.url(), OFTEN, "").kept());
    assert_eq!(proxy.get("/").text(), "fly");
    fly.is_well(false);
    proxy.wait_for_metric(UP, &[("backend", "fly")], 0.0);
    let told = proxy.wait_for_event("backend.endpoint-down");
    assert!(
        told.contains("GET /up: answered 503 Service Unavailable") && told.contains(&fly.url()),
        "{told}"
    );
    let told = proxy.wait_for_event("backend.down");
    assert!(told.contains("route web: sent to heroku instead"), "{told}");
    let mut visitor = proxy.visit();
    assert_eq!(visitor.get("/").text(), "heroku");
    visitor.send("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nonce");
    assert_eq!(visitor.response().text(), "heroku");
    assert_eq!((fly.visits(), stable.visits()), (1, 2));
    assert_eq!(unhealthy(&proxy), 2.0, "each is counted against the one that is left out");
    assert_eq!(proxy.metric("crossfade_retries_total", &[("backend", "fly"), ("reason", "failover")]), 2.0);
    let status = proxy.steer("status");
    assert!(status.contains("! fly: http://") && status.contains("is down for"), "{status}");
    assert!(status.starts_with("! fly is DOWN; route web: sent to heroku instead\n"), "{status}");
    assert!(status.contains("DOWN, "), "{status}");

    fly.is_well(true);
    proxy.wait_for_metric(UP, &[("backend", "fly")], 1.0);
    assert!(proxy.wait_for_event("backend.endpoint-up").contains("was=\"down\""));
    assert_eq!(proxy.get("/").text(), "fly");
    let records = proxy.records();
    let by: Vec<&str> = records.iter().map(|record| record["chosen_by"].as_str().unwrap()).collect();
    assert_eq!(by, ["sequence", "failover", "failover", "sequence"]);
    assert!(proxy.metric(PROBES, &[("backend", "fly"), ("result", "failed")]) >= 2.0);
    assert_eq!(proxy.metric(PROBES, &[("backend", "heroku")]), 0.0, "nobody asked for those");
}

#[test]
fn who_wants_that_backend_gets_it_though_it_is_down() {
    let (stable, fly) = (Patient::new("heroku"), Patient::sick("fly"));
    let asked = |route: &str, headers: &str| {
        let proxy = Proxy::start(&all_to_fly(&stable.url(), &fly.url(), OFTEN, route));
        proxy.wait_for_metric(UP, &[("backend", "fly")], 0.0);
        let mut visitor = proxy.visit();
        visitor.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
        visitor.response().status()
    };
    assert_eq!(asked("failover = false", ""), 503);
    let pin = "pin = { header = \"X-Crossfade-Backend\" }";
    assert_eq!(asked(pin, "X-Crossfade-Backend: fly\r\n"), 503);
    assert_eq!(asked(pin, ""), 200);
}

#[test]
fn where_both_are_down_the_chosen_one_is_tried() {
    let (stable, fly) = (Patient::sick("heroku"), Patient::sick("fly"));
    let config = Config::new()
        .backend("heroku", &stable.url(), OFTEN)
        .backend("fly", &fly.url(), OFTEN)
        .route("stable = \"heroku\"\nweights = { heroku = 0, fly = 100 }");
    let proxy = Proxy::start(&config);
    for backend in ["heroku", "fly"] {
        proxy.wait_for_metric(UP, &[("backend", backend)], 0.0);
    }
    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!((fly.visits(), stable.visits()), (1, 0));
    assert_eq!(unhealthy(&proxy), 0.0);
}

#[test]
fn an_endpoint_that_fails_is_left_out_and_let_in_again() {
    let (good, bad) = (Patient::new("good"), Patient::sick("bad"));
    let config = several(&[good.url(), bad.url()], "health = { eject_for = \"300ms\" }");
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    let mut failed = 0;
    for _ in 0..10 {
        failed += usize::from(visitor.get("/").status() == 503);
    }
    assert_eq!(failed, 5, "the tenth is the fifth that goes there");
    proxy.wait_for_metric(EJECTIONS, &[("backend", "only")], 1.0);
    let told = proxy.wait_for_event("backend.endpoint-ejected");
    assert!(
        told.contains("5 gateway failures in a row, the last: answered 503") && told.contains(&bad.url()),
        "{told}"
    );
    bad.is_well(true);
    wait_until("it is let in again", || visitor.get("/").text() == "bad");
    assert!(proxy.wait_for_event("backend.endpoint-up").contains(&bad.url()));
    assert_eq!(proxy.metric(USABLE, &[("backend", "only")]), 2.0);
}

#[test]
fn few_requests_meet_an_endpoint_that_refuses_and_nobody_notices() {
    let (good, dead) = (Patient::new("good"), Refusing::new());
    let proxy = Proxy::start(&several(&[dead.url(), good.url()], ""));
    let mut visitor = proxy.visit();
    for _ in 0..100 {
        assert_eq!(visitor.get("/").text(), "good");
    }
    let refused = proxy.metric(FAILURES, &[("reason", "connect_refused")]);
    assert!((5.0..10.0).contains(&refused), "{refused} of 100");
    proxy.wait_for_metric(USABLE, &[("backend", "only")], 1.0);
    assert_eq!(proxy.metric(UP, &[("backend", "only")]), 1.0);
}

#[test]
fn the_only_endpoint_is_never_left_out() {
    let only = Patient::sick("only");
    let proxy = Proxy::start(&Config::of(&only.backend));
    let mut visitor = proxy.visit();
    for _ in 0..30 {
        assert_eq!(visitor.get("/").status(), 503);
    }
    assert_eq!(only.visits(), 30);
    assert_eq!((proxy.metric(EJECTIONS, &[]), proxy.metric(UP, &[])), (0.0, 1.0));
    // Nor the last one, when all the others are.
    let all = [Patient::sick("a"), Patient::sick("b"), Patient::sick("c")];
    let proxy = Proxy::start(&several(&all.each_ref().map(Patient::url), ""));
    let mut visitor = proxy.visit();
    (0..30).for_each(|_| assert_eq!(visitor.get("/").status(), 503));
    proxy.wait_for_metric(USABLE, &[("backend", "only")], 1.0);
    let before = all.each_ref().map(Patient::visits);
    (0..30).for_each(|_| assert_eq!(visitor.get("/").status(), 503));
    let since = std::array::from_fn::<_, 3, _>(|at| all[at].visits() - before[at]);
    assert_eq!((since.iter().sum::<usize>(), since.iter().max()), (30, Some(&30)), "{since:?}");
}

#[test]
fn health_outlives_a_reload() {
    let (good, bad) = (Patient::new("good"), Patient::sick("bad"));
    let health = "health = { eject_for = \"1h\" }";
    let config = several(&[good.url(), bad.url()], health);
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    (0..10).for_each(|_| drop(visitor.get("/")));
    proxy.wait_for_metric(USABLE, &[("backend", "only")], 1.0);
    bad.is_well(true);
    let changed = config.section("[limits]\npool_idle = 7").text();
    std::fs::write(proxy.config_path(), changed).unwrap();
    proxy.wait_for_metric("crossfade_revision", &[], 2.0);
    for _ in 0..20 {
        assert_eq!(visitor.get("/").text(), "good");
    }
    assert_eq!(proxy.metric(USABLE, &[("backend", "only")]), 1.0);
    assert_eq!(proxy.metric(EJECTIONS, &[("backend", "only")]), 1.0);
}

#[test]
fn probes_go_on_over_a_reload_and_end_with_their_endpoint() {
    let (stable, fly) = (Patient::new("heroku"), Patient::sick("fly"));
    let config = |health: &str| all_to_fly(&stable.url(), &fly.url(), health, "");
    let proxy = Proxy::start(&config(OFTEN));
    proxy.wait_for_metric(UP, &[("backend", "fly")], 0.0);
    // It stays down through a reload that has it asked in another way.
    let slower = OFTEN.replace("rise = 1", "rise = 100");
    std::fs::write(proxy.config_path(), config(&slower).text()).unwrap();
    proxy.wait_for_metric("crossfade_revision", &[], 2.0);
    fly.is_well(true);
    assert_eq!(proxy.get("/").text(), "heroku");
    // Where nobody asks any more, nothing is known against it.
    std::fs::write(proxy.config_path(), config("").text()).unwrap();
    proxy.wait_for_metric(UP, &[("backend", "fly")], 1.0);
    assert_eq!(proxy.get("/").text(), "fly");
    fly.backend.seen();
    let probes = proxy.metric(PROBES, &[("backend", "fly")]);
    assert_eq!(proxy.get("/").text(), "fly");
    assert!(fly.backend.seen().iter().all(|request| request.target() != "/up"));
    assert_eq!(proxy.metric(PROBES, &[("backend", "fly")]), probes);
}

#[test]
fn a_backend_that_hangs_holds_up_no_other_ones_probes_and_no_request() {
    let stable = Patient::new("heroku");
    let hung = Backend::start(|mut peer| peer.hang());
    let config = Config::new()
        .backend("heroku", &stable.url(), OFTEN)
        .backend("fly", &hung.url(), "health = { path = \"/up\", interval = \"20ms\", timeout = \"1m\" }")
        .route("stable = \"heroku\"\nweights = { heroku = 100, fly = 0 }");
    let proxy = Proxy::start(&config);
    wait_until("the others are asked on and on", || {
        assert_eq!(proxy.get("/").text(), "heroku");
        proxy.metric(PROBES, &[("backend", "heroku"), ("result", "passed")]) >= 10.0
    });
    assert_eq!(
        (hung.accepted(), proxy.metric(PROBES, &[("backend", "fly")])),
        (1, 0.0),
        "one question at a time"
    );
}

#[test]
fn a_probe_that_isnt_answered_in_time_is_a_bad_one() {
    let stable = Patient::new("heroku");
    let hung = Backend::start(|mut peer| peer.hang());
    let health = "health = { path = \"/up\", interval = \"20ms\", timeout = \"100ms\", fall = 2 }";
    let proxy = Proxy::start(&all_to_fly(&stable.url(), &hung.url(), health, ""));
    proxy.wait_for_metric(UP, &[("backend", "fly")], 0.0);
    assert!(proxy.wait_for_event("backend.endpoint-down").contains("no answer within 100ms"));
    assert_eq!(proxy.get("/").text(), "heroku");
}

#[test]
fn a_backend_that_cant_be_connected_to_is_left_out_and_found_again_without_probes() {
    let (stable, dead) = (Patient::new("heroku"), Refusing::new());
    let proxy = Proxy::start(&all_to_fly(&stable.url(), &dead.url(), "", ""));
    let mut visitor = proxy.visit();
    assert_eq!(proxy.metric(UP, &[("backend", "fly")]), 1.0);
    for _ in 0..20 {
        assert_eq!(visitor.get("/").text(), "heroku");
    }
    assert_eq!(proxy.metric(FAILURES, &[("backend", "fly"), ("reason", "connect_refused")]), 5.0);
    assert_eq!(unhealthy(&proxy), 15.0, "from then on nobody waits for it");
    proxy.wait_for_metric(UP, &[("backend", "fly")], 0.0);
    assert!(
        proxy.wait_for_event("backend.endpoint-unreachable").contains("failed, the last: connect_refused")
    );
    dead.relents("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nfly".to_owned());
    proxy.wait_for_metric(UP, &[("backend", "fly")], 1.0);
    assert_eq!(visitor.get("/").text(), "fly");
    assert!(proxy.wait_for_event("backend.up").contains("backend=\"fly\""));
}

#[test]
fn a_redirect_to_https_of_the_same_is_a_sign_of_life_and_is_said() {
    let stable = Patient::new("heroku");
    let fly = Backend::by(|request| {
        let host = request.field("host").unwrap();
        format!("HTTP/1.1 301 Moved\r\nLocation: https://{host}/up\r\nContent-Length: 0\r\n\r\n")
    });
    let proxy = Proxy::start(&all_to_fly(&stable.url(), &fly.url(), OFTEN, ""));
    assert!(proxy.wait_for_event("backend.probe-sent-to-https").contains("X-Forwarded-Proto"));
    let passed = || proxy.metric(PROBES, &[("backend", "fly"), ("result", "passed")]);
    wait_until("several probes", || passed() >= 5.0);
    assert_eq!(proxy.metric(UP, &[("backend", "fly")]), 1.0);
    let probe = fly.next();
    assert_eq!((probe.target(), probe.field("x-forwarded-proto")), ("/up", Some("https")));
    assert!(probe.field("user-agent").is_some_and(|agent| agent.starts_with("crossfade/")));
}

#[test]
fn a_platforms_own_page_is_the_platforms_failure_and_the_apps_503_is_not() {
    let page = "HTTP/1.1 503 Service Unavailable\r\nServer: Heroku\r\nContent-Type: text/html; charset=utf-8\r\n\
                Cache-Control: no-cache, no-store\r\nContent-Length: 4\r\n\r\npage";
    let heroku = Backend::by(move |request| match request.target() {
        "/app" => page.replacen("Server: Heroku\r\n", "Server: Heroku\r\nVia: 1.1 heroku-router\r\n", 1),
        _ => page.to_owned(),
    });
    let proxy = Proxy::start(&Config::of_url(&heroku.url(), "platform = \"heroku\""));
    let mut visitor = proxy.visit();
    let answer = visitor.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (503, "page"), "the visitor still gets it");
    assert_eq!(visitor.get("/app").status(), 503);
    assert_eq!(proxy.metric(FAILURES, &[("reason", "platform")]), 1.0);
    let reasons: Vec<_> = proxy.records().iter().map(|record| record["reason"].clone()).collect();
    assert_eq!(reasons[0], "platform");
    assert_ne!(reasons[1], "platform");
}

/// Seen with one of two that refused: the other had its five failures, and none was left.
#[test]
fn the_last_one_that_can_be_reached_is_let_in_again() {
    let (sick, dead) = (Patient::sick("sick"), Refusing::new());
    let proxy = Proxy::start(&several(&[dead.url(), sick.url()], "health = { eject_for = \"1h\" }"));
    let mut visitor = proxy.visit();
    (0..5).for_each(|_| assert_eq!(visitor.get("/").status(), 503));
    proxy.wait_for_event("backend.endpoint-ejected");
    (0..5).for_each(|_| drop(visitor.get("/")));
    proxy.wait_for_event("backend.endpoint-unreachable");
    let told = proxy.wait_for_event("backend.endpoint-up");
    assert!(told.contains(&sick.url()) && told.contains("was=\"ejected\""), "{told}");
}

/// Each opened a second connection, since the first hadn't chosen HTTP/2.
#[test]
fn a_probe_takes_one_connection() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let backend = Backend::start_tls(authority.server(&["127.0.0.1"]), |mut peer| {
        while peer.request().is_some() {
            peer.send(ok("up"));
        }
    });
    let ca = authority.write(directory.path());
    let keys = format!("ca_file = \"{}\"\nhttp2 = \"auto\"\n{OFTEN}", ca.display());
    let proxy = Proxy::start(&Config::of_url(&backend.url(), &keys));
    let mut asked = 0;
    wait_until("several probes", || {
        asked += backend.seen().len();
        asked >= 5
    });
    drop(proxy);
    asked += backend.seen().len();
    assert!(backend.accepted() <= asked + 1, "{} for {asked}", backend.accepted());
}
