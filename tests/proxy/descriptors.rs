//! A machine that runs out of descriptors: who is in is served, who comes waits, nothing spins, health and steering
//! answer, and all goes on when there are some again.

use std::collections::VecDeque;
use std::time::Duration;

use crate::kit::http2_client::{Http2, get};
use crate::kit::{Backend, Config, Proxy, Visitor, ok, pause, wait_until};

const OPEN: &str = "crossfade_connections_open";

fn asking(proxy: &Proxy) -> Visitor {
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    visitor
}

/// How many connections are open, once no more are accepted.
fn settled(proxy: &Proxy) -> f64 {
    loop {
        let open = proxy.metric(OPEN, &[]);
        pause(Duration::from_millis(200));
        if proxy.metric(OPEN, &[]) == open {
            return open;
        }
    }
}

/// Health, metrics and the admin API answer.
fn is_in_hand(proxy: &Proxy) {
    assert_eq!((proxy.told_at("/healthz").0, proxy.told_at("/metrics").0), (200, 200));
    assert!(proxy.admin().see("status")["revision"].as_u64().is_some());
}

#[test]
fn visitors_beyond_the_descriptors_wait_and_are_all_served() {
    let backend = Backend::answering(ok("served"));
    let proxy = Proxy::start_with_descriptors(&Config::of(&backend).kept(), 64);
    let event = proxy.wait_for_event("descriptors.few");
    assert!(event.contains("limit=64") && event.contains("wanted=8192"), "{event}");
    let mut visitors: VecDeque<Visitor> = (0..60).map(|_| asking(&proxy)).collect();
    let mut first = visitors.pop_front().unwrap();
    assert_eq!(first.response().text(), "served");
    let most = settled(&proxy);
    let before = proxy.processor_time();
    pause(Duration::from_secs(1));
    let used = proxy.processor_time() - before;
    assert!(used < Duration::from_millis(300), "it spins: {used:?}");
    assert!((2.0..20.0).contains(&most) && proxy.metric(OPEN, &[]) <= most + 1.0, "{most}");
    assert_eq!(first.get("/again").text(), "served", "who is in is served");
    is_in_hand(&proxy);
    drop(first);
    for mut visitor in visitors {
        assert_eq!(visitor.response().text(), "served", "who waited is served as others leave");
    }
    proxy.wait_for_metric(OPEN, &[], 0.0);
    assert_eq!(proxy.metric("crossfade_requests_total", &[("code", "200")]), 61.0);
    assert_eq!(proxy.metric("crossfade_backend_failures_total", &[]), 0.0);
}

#[test]
fn connections_to_backends_never_take_the_last_descriptors() {
    let (stable, fly) = (Backend::answering(ok("stable")), holding());
    let config = Config::new().backend("heroku", &stable.url(), "").backend("fly", &fly.url(), "");
    let config = config.route("stable = \"heroku\"\nweights = { heroku = 0, fly = 100 }").kept();
    let proxy = Proxy::start_with_descriptors(&config, 64);
    let mut visitor = Http2::connect(proxy.address);
    let asked = std::thread::spawn(move || {
        let answers = visitor.ask_all((0..60).map(|_| (get("/"), None)).collect());
        (visitor, answers.into_iter().map(|answer| answer.unwrap()).collect::<Vec<_>>())
    });
    let shed = || proxy.metric("crossfade_rejected_requests_total", &[("reason", "no_descriptors")]);
    let mut held = 0;
    wait_until("each is held or shed", || {
        held += fly.seen().len();
        held as f64 + shed() > 59.0
    });
    assert!((10..50).contains(&held), "{held}");
    is_in_hand(&proxy);
    (0..held).for_each(|_| fly.go_on());
    let (mut visitor, answers) = asked.join().unwrap();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(refused.len(), 60 - held);
    assert!(refused.iter().all(|answer| answer.field("x-crossfade-error") == Some("no_descriptors")));
    assert!(refused.iter().all(|answer| answer.field("retry-after").is_some()));
    assert!(stable.seen().is_empty(), "it is no fault of the backend's");
    assert_eq!(proxy.metric("crossfade_backend_failures_total", &[]), 0.0);
    assert_eq!(proxy.metric("crossfade_backend_up", &[("backend", "fly")]), 1.0);
    fly.go_on();
    assert_eq!(visitor.get("/").status, 200, "it goes on");
}

/// Holds each request until a word.
fn holding() -> Backend {
    Backend::start(|mut peer| {
        while peer.request().is_some() {
            peer.await_word();
            peer.send(ok("fly"));
        }
    })
}
