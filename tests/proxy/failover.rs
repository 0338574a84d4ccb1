//! A backend that can't be reached costs nobody a request where the route's other one can serve it.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use crate::kit::backend::Refusing;
use crate::kit::{Backend, Config, Proxy, ok};

fn config(heroku: &str, fly: &str, keys: &str) -> Config {
    let weights = "weights = { heroku = 0, fly = 100 }";
    Config::new()
        .backend("heroku", heroku, "")
        .backend("fly", fly, "")
        .route(&format!("stable = \"heroku\"\n{weights}\n{keys}"))
}

#[test]
fn a_request_whose_backend_refuses_goes_to_stable_whole() {
    let (stable, dead) = (Backend::by(|request| ok(&request.text())), Refusing::new());
    let proxy = Proxy::start(&config(&stable.url(), &dead.url(), ""));
    let mut visitor = proxy.visit();
    assert_eq!(visitor.get("/").status(), 200);
    visitor.send("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nonce");
    assert_eq!(visitor.response().text(), "once");
    assert_eq!(stable.next().target(), "/");
    assert_eq!(stable.next().target(), "/pay");
    let records = proxy.records();
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!((&record["backend"], &record["chosen_by"]), (&"heroku".into(), &"failover".into()));
    }
    let of_fly =
        |reason| proxy.metric("crossfade_backend_failures_total", &[("backend", "fly"), ("reason", reason)]);
    assert_eq!(of_fly("connect_refused"), 2.0, "each is counted against the one that failed");
    assert_eq!(proxy.metric("crossfade_retries_total", &[("backend", "fly"), ("reason", "failover")]), 2.0);
    assert_eq!(proxy.metric("crossfade_requests_total", &[("backend", "heroku"), ("code", "200")]), 2.0);
    assert_eq!(proxy.metric("crossfade_requests_in_flight", &[]), 0.0);
}

#[test]
fn who_wants_none_gets_none() {
    let (stable, dead) = (Backend::answering(ok("stable")), Refusing::new());
    let status = |keys: &str, headers: &str| {
        let proxy = Proxy::start(&config(&stable.url(), &dead.url(), keys));
        let mut visitor = proxy.visit();
        visitor.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
        visitor.response().status()
    };
    assert_eq!(status("failover = false", ""), 502);
    // A tester wants to see the new platform, not the old one in its place.
    let pin = "pin = { header = \"X-Crossfade-Backend\" }";
    assert_eq!(status(pin, "X-Crossfade-Backend: fly\r\n"), 502);
    assert_eq!(status(pin, ""), 200);
}

#[test]
fn stables_requests_go_to_a_candidate_by_choice_alone_and_never_after_a_rollback() {
    let fly = Backend::answering(ok("fly"));
    let dead = Refusing::new();
    let text = |keys: &str| config(&dead.url(), &fly.url(), keys).kept();
    let by_default = Proxy::start(&text(""));
    by_default.steer("shift fly 0");
    assert_eq!(by_default.get("/").status(), 502);
    let chosen = Proxy::start(&text("failover = \"fly\""));
    chosen.steer("shift fly 0");
    assert_eq!(chosen.get("/").text(), "fly");
    chosen.steer("rollback");
    assert_eq!(chosen.get("/").status(), 502);
}

#[test]
fn both_dead_is_said_once_and_soon() {
    let dead = [Refusing::new(), Refusing::new()];
    let proxy = Proxy::start(&config(&dead[0].url(), &dead[1].url(), "failover = \"fly\""));
    let began = Instant::now();
    let answer = proxy.get("/");
    assert_eq!((answer.status(), answer.field("x-crossfade-error")), (502, Some("connect_refused")));
    assert!(began.elapsed().as_secs() < 2);
    let refused = |backend| {
        proxy.metric(
            "crossfade_backend_failures_total",
            &[("backend", backend), ("reason", "connect_refused")],
        )
    };
    assert_eq!((refused("fly"), refused("heroku")), (1.0, 1.0));
}

/// What a response names of its backend is that of the one that answered.
#[test]
fn a_visitor_keeps_their_bucket_and_host_over_a_failover() {
    let dead = Refusing::new();
    let stable = Backend::by(|request| {
        let host = request.field("host").unwrap();
        format!("HTTP/1.1 302 Found\r\nLocation: http://{host}/next\r\nContent-Length: 0\r\n\r\n")
    });
    let proxy = Proxy::start(&config(&stable.url(), &dead.url(), "sticky = \"cookie\""));
    let answer = proxy.get("/");
    assert_eq!(answer.field("location"), Some("http://www.example.com/next"));
    assert!(answer.field("set-cookie").is_some_and(|cookie| cookie.starts_with("crossfade=")));
}

/// A backend that is restarted: it takes the request, and dies without a word.
fn dying(times: usize) -> Backend {
    let left = AtomicUsize::new(times);
    Backend::start(move |mut peer| {
        while peer.request().is_some() {
            if left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                return;
            }
            peer.send(ok("alive"));
        }
    })
}

#[test]
fn a_get_outlives_a_backend_that_dies_with_it_and_a_post_is_never_run_twice() {
    let backend = dying(1);
    let proxy = Proxy::start(&Config::of(&backend));
    assert_eq!(proxy.get("/").text(), "alive");
    assert_eq!((backend.next().target(), backend.next().target()), ("/", "/"));
    let record = proxy.only_record();
    assert_eq!((&record["attempts"], &record["status"]), (&2.into(), &200.into()), "{record}");
    assert_eq!(proxy.metric("crossfade_retries_total", &[("reason", "reset")]), 1.0);
    assert_eq!(proxy.metric("crossfade_backend_failures_total", &[("reason", "closed")]), 1.0);

    let backend = dying(1);
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nonce");
    assert_eq!(visitor.response().status(), 502);
    backend.next();
    assert_eq!(visitor.get("/").text(), "alive");
    assert_eq!(backend.next().line(), "GET / HTTP/1.1", "the POST wasn't sent again");
}

#[test]
fn a_get_goes_to_stable_when_its_backend_dies_and_stays_dead() {
    let stable = Backend::answering(ok("stable"));
    let doomed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", doomed.local_addr().unwrap());
    let proxy = Proxy::start(&config(&stable.url(), &url, ""));
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (peer, _) = doomed.accept().unwrap();
    // Nobody listens any more once the request is reset.
    drop(doomed);
    drop(peer);
    assert_eq!(visitor.response().text(), "stable");
}

/// Seen with a PUT: the candidate died with it and refused then, and it was run on stable as well.
#[test]
fn what_a_backend_may_have_acted_on_goes_to_no_other() {
    for (method, status, stables) in [("GET", 200, 1), ("PUT", 502, 0), ("POST", 502, 0)] {
        let stable = Backend::answering(ok("stable"));
        let doomed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", doomed.local_addr().unwrap());
        let proxy = Proxy::start(&config(&stable.url(), &url, ""));
        let mut visitor = proxy.visit();
        visitor.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        let (mut peer, _) = doomed.accept().unwrap();
        assert!(peer.read(&mut [0; 4096]).unwrap() > 0);
        drop(doomed);
        drop(peer);
        assert_eq!(visitor.response().status(), status, "{method}");
        assert_eq!(stable.seen().len(), stables, "{method}");
    }
}

/// Seen with a candidate that died with each request: once the budget was spent, GETs got 502 beside a stable that was
/// well.
#[test]
fn a_spent_budget_keeps_no_get_from_stable() {
    let (stable, fly) = (Backend::answering(ok("stable")), dying(usize::MAX));
    let proxy = Proxy::start(&config(&stable.url(), &fly.url(), "").server("workers = 1"));
    let mut visitor = proxy.visit();
    let failed = (0..600).filter(|_| visitor.get("/").text() != "stable").count();
    assert_eq!(failed, 0);
}
