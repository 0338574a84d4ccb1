//! How often one request is sent: as often as does no harm, within a budget, and all of it within one deadline.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::kit::backend::Full;
use crate::kit::{Backend, Config, Proxy, Visitor, ok, pause};

/// One that reads so many requests whole and dies with each, before it answers.
fn dying(times: usize) -> Backend {
    let left = AtomicUsize::new(times);
    Backend::start(move |mut peer| {
        while let Some(request) = peer.request() {
            if left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                return;
            }
            peer.send(ok(&request.text()));
        }
    })
}

/// The status that a request gets whose backend dies once with it, and how often the backend had it.
fn sent(keys: &str, request: &str) -> (u16, String, usize) {
    let backend = dying(1);
    let proxy = Proxy::start(&Config::of(&backend).section(keys));
    let mut visitor = proxy.visit();
    visitor.send(request);
    let answer = visitor.response();
    (answer.status(), answer.text(), backend.seen().len())
}

#[test]
fn a_body_is_kept_for_a_second_attempt_where_twice_is_as_good_as_once() {
    let put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nwhole";
    assert_eq!(sent("", put), (200, "whole".to_owned(), 2));
    let chunked =
        "DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwh\r\n3\r\nole\r\n0\r\n\r\n";
    assert_eq!(sent("", chunked), (200, "whole".to_owned(), 2));
    let post = put.replace("PUT", "POST");
    let (status, _, times) = sent("", &post);
    assert_eq!((status, times), (502, 1), "the backend may have acted on it");
    let (status, _, times) = sent("[limits]\nreplay_size = \"4B\"", put);
    assert_eq!((status, times), (502, 1), "what isn't whole any more isn't sent");
    assert_eq!(sent("[limits]\nreplay_size = \"5B\"", put), (200, "whole".to_owned(), 2));
}

#[test]
fn who_loses_a_request_twice_has_had_its_chance() {
    let ask = |method: &str| {
        let (fly, heroku) = (dying(usize::MAX), Backend::by(|request| ok(request.target())));
        let config = Config::new()
            .backend("heroku", &heroku.url(), "")
            .backend("fly", &fly.url(), "")
            .route("stable = \"heroku\"\nweights = { heroku = 0, fly = 100 }");
        let proxy = Proxy::start(&config);
        let mut visitor = proxy.visit();
        visitor.send(format!("{method} /it HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        let status = visitor.response().status();
        let failed = |backend| proxy.metric("crossfade_backend_failures_total", &[("backend", backend)]);
        (status, fly.seen().len(), heroku.seen().len(), failed("fly"), failed("heroku"))
    };
    assert_eq!(ask("GET"), (200, 2, 1, 2.0, 0.0));
    // Another platform may have another database.
    assert_eq!(ask("PUT"), (502, 3, 0, 3.0, 0.0));
    assert_eq!(ask("POST"), (502, 1, 0, 1.0, 0.0));
}

#[test]
fn all_attempts_have_one_deadline() {
    let silent: Vec<Full> = (0..3).map(|_| Full::new()).collect();
    let urls: Vec<String> = silent.iter().map(|backend| format!("\"{}\"", backend.url())).collect();
    let keys = "connect_timeout = \"1500ms\"\nfirst_byte_timeout = \"1ms\"";
    let backend = format!("[backends.only]\nurls = [{}]\n{keys}", urls.join(", "));
    let proxy = Proxy::start(&Config::new().route("stable = \"only\"").section(&backend));
    let began = Instant::now();
    assert_eq!(proxy.get("/").status(), 504);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2900), "two had their time: {took:?}");
    assert!(proxy.only_record()["attempts"].as_u64() > Some(1));
}

/// Seen with a candidate that took no more connections: stable got what it had left of the time, and five such
/// milliseconds made it count as down.
#[test]
fn what_a_backend_has_used_up_is_not_missing_at_the_other() {
    let heroku = Backend::start(|mut peer| {
        while peer.request().is_some() {
            pause(Duration::from_millis(30));
            peer.send(ok("stable"));
        }
    });
    let silent: Vec<Full> = (0..3).map(|_| Full::new()).collect();
    let urls: Vec<String> = silent.iter().map(|backend| format!("\"{}\"", backend.url())).collect();
    let fly = format!(
        "[backends.fly]\nurls = [{}]\nconnect_timeout = \"150ms\"\nfirst_byte_timeout = \"1ms\"",
        urls.join(", ")
    );
    let route = "stable = \"heroku\"\nweights = { heroku = 0, fly = 100 }";
    let config = Config::new().backend("heroku", &heroku.url(), "").route(route).section(&fly);
    let proxy = Proxy::start(&config);
    for _ in 0..3 {
        assert_eq!(proxy.get("/").text(), "stable");
    }
    assert_eq!(proxy.metric("crossfade_backend_failures_total", &[("backend", "heroku")]), 0.0);
}

/// Everybody's retries would be the end of a backend that struggles.
#[test]
fn a_backend_that_always_dies_gets_little_more_than_visitors_ask() {
    const ASKED: usize = 700;
    let backend = dying(usize::MAX);
    let proxy = Proxy::start(&Config::of(&backend).server("workers = 1"));
    let began = Instant::now();
    let mut visitor = proxy.visit();
    for _ in 0..ASKED {
        assert_eq!(visitor.get("/").status(), 502);
    }
    let (share, floor) = (ASKED / 5, 3 * (1 + began.elapsed().as_secs() as usize));
    let had = backend.seen().len();
    assert!(had <= ASKED + share + floor + 256, "{had} for {ASKED}");
    assert!(had >= ASKED + share + 256, "and all that the budget has: {had}");
}

/// Seen where the budget was spent: a backend that closes after each answer without a word lost requests to it.
#[test]
fn a_spent_budget_loses_nothing_to_connections_that_were_closed() {
    let backend = Backend::start(|mut peer| {
        if peer.request().is_some_and(|request| request.target() != "/die") {
            peer.send(ok("once"));
            peer.stall(Duration::from_millis(1));
        }
    });
    let proxy = Proxy::start(&Config::of(&backend).server("workers = 1"));
    let mut visitor = proxy.visit();
    (0..300).for_each(|_| assert_eq!(visitor.get("/die").status(), 502));
    let answered = |visitor: &mut Visitor| visitor.get("/").status() == 200;
    assert_eq!((0..300).filter(|_| answered(&mut visitor)).count(), 300);
}
