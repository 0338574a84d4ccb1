//! A backend with more to do than it may have: the rest waits in order for a bounded time, and beyond that is told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::kit::backend::Refusing;
use crate::kit::http2_client::{Http2, get};
use crate::kit::websocket::{agreed, handshake};
use crate::kit::{Backend, Config, Proxy, Visitor, ok, pause, wait_until};

const WAITING: &str = "crossfade_queue_requests";
const LIMIT: &str = "crossfade_in_flight_limit";
const SHED: &str = "crossfade_shed_requests_total";
const REJECTED: &str = "crossfade_rejected_requests_total";

/// Holds each request until a word.
fn holding() -> Backend {
    Backend::start(|mut peer| {
        while let Some(request) = peer.request() {
            if request.field("upgrade").is_some() {
                peer.send(agreed(""));
                return peer.echo();
            }
            peer.await_word();
            peer.send(ok(request.target()));
        }
    })
}

fn bounded(backend: &Backend, keys: &str) -> Config {
    Config::of_url(&backend.url(), keys)
}

/// A visitor whose request for `path` is on its way.
fn asking(proxy: &Proxy, path: &str) -> Visitor {
    let mut visitor = proxy.visit();
    visitor.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    visitor
}

/// The same, which is the `nth` to wait.
fn waiting(proxy: &Proxy, path: &str, nth: f64) -> Visitor {
    let visitor = asking(proxy, path);
    proxy.wait_for_metric(WAITING, &[], nth);
    visitor
}

fn is_shed(visitor: &mut Visitor, reason: &str) {
    let answer = visitor.response();
    assert_eq!((answer.status(), answer.reason()), (503, Some(reason)), "{}", answer.head);
    let seconds: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=4).contains(&seconds), "{seconds}");
}

#[test]
fn a_backend_gets_so_many_at_a_time_and_the_others_in_order() {
    let backend = holding();
    let proxy = Proxy::start(&bounded(&backend, "max_in_flight = 2\nmax_queue = 3"));
    assert_eq!(proxy.metric(LIMIT, &[("backend", "only")]), 2.0);
    assert!(proxy.has_series(SHED, &[("backend", "only"), ("reason", "queue_timeout")]));
    assert!(proxy.has_series(REJECTED, &[("reason", "overloaded")]));
    let mut visitors: Vec<Visitor> = Vec::new();
    for path in ["/1", "/2"] {
        visitors.push(asking(&proxy, path));
        assert_eq!(backend.next().target(), path);
    }
    for (path, nth) in [("/3", 1.0), ("/4", 2.0), ("/5", 3.0)] {
        visitors.push(waiting(&proxy, path, nth));
    }
    let mut shed = asking(&proxy, "/6");
    is_shed(&mut shed, "overloaded");
    shed.send("GET /7 HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    let answer = shed.response();
    assert!(answer.text().starts_with("{\"status\":503,\"error\":\"overloaded\""), "{}", answer.text());
    assert!(backend.seen().is_empty(), "the bound holds");
    for path in ["/3", "/4", "/5"] {
        backend.go_on();
        assert_eq!(backend.next().target(), path, "first come, first served");
    }
    (0..2).for_each(|_| backend.go_on());
    for (visitor, path) in visitors.iter_mut().zip(["/1", "/2", "/3", "/4", "/5"]) {
        assert_eq!(visitor.response().text(), path);
    }
    assert_eq!(proxy.metric(WAITING, &[]), 0.0);
    assert_eq!(proxy.metric(SHED, &[("backend", "only"), ("reason", "overloaded")]), 2.0);
    assert_eq!(proxy.metric(REJECTED, &[("reason", "overloaded")]), 2.0);
    assert_eq!(proxy.metric("crossfade_backend_failures_total", &[]), 0.0, "it is no fault of the backend's");
    let records = proxy.records();
    let told = records.iter().filter(|record| record["status"] == 503 && record["reason"] == "overloaded");
    assert_eq!((records.len(), told.count()), (7, 2), "{records:#?}");
}

#[test]
fn nobody_waits_longer_than_the_queue_allows() {
    let backend = holding();
    let proxy = Proxy::start(&bounded(&backend, "max_in_flight = 1\nqueue_timeout = \"150ms\""));
    let mut first = asking(&proxy, "/1");
    backend.next();
    let began = Instant::now();
    is_shed(&mut asking(&proxy, "/2"), "queue_timeout");
    let took = began.elapsed();
    assert!((Duration::from_millis(150)..Duration::from_secs(2)).contains(&took), "{took:?}");
    assert_eq!(proxy.metric(WAITING, &[]), 0.0);
    assert_eq!(proxy.metric(SHED, &[("reason", "queue_timeout")]), 1.0);
    backend.go_on();
    assert_eq!(first.response().text(), "/1");
    backend.go_on();
    assert_eq!(proxy.get("/3").text(), "/3", "its place is free again");
}

#[test]
fn who_hangs_up_leaves_the_queue_at_once_and_no_backend_sees_the_request() {
    let backend = holding();
    let proxy = Proxy::start(&bounded(&backend, "max_in_flight = 1"));
    let mut first = asking(&proxy, "/1");
    backend.next();
    let gone = waiting(&proxy, "/2", 1.0);
    let mut third = waiting(&proxy, "/3", 2.0);
    drop(gone);
    proxy.wait_for_metric(WAITING, &[], 1.0);
    backend.go_on();
    assert_eq!(first.response().text(), "/1");
    assert_eq!(backend.next().target(), "/3");
    backend.go_on();
    assert_eq!(third.response().text(), "/3");
    let gone = proxy.records().into_iter().find(|record| record["path"] == "/2").unwrap();
    assert_eq!(
        (&gone["status"], &gone["reason"], &gone["attempts"]),
        (&499.into(), &"visitor_gone".into(), &0.into())
    );
}

#[test]
fn a_place_given_free_by_one_worker_is_taken_by_another() {
    let backend = holding();
    let keys = "max_in_flight = 1\nqueue_timeout = \"60s\"";
    let proxy = Proxy::start(&bounded(&backend, keys).server("workers = 2"));
    // Connections lie evenly: of two neighbours each is another worker's.
    let mut visitors: Vec<Visitor> = (0..6).map(|_| proxy.visit()).collect();
    for round in 0..10 {
        for visitor in &mut visitors {
            visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for _ in 0..visitors.len() {
            backend.next();
            assert!(backend.seen().is_empty(), "one at a time, in round {round}");
            backend.go_on();
        }
        visitors.iter_mut().for_each(|visitor| assert_eq!(visitor.response().status(), 200));
    }
    assert_eq!((proxy.metric(WAITING, &[]), proxy.metric(SHED, &[])), (0.0, 0.0));
}

#[test]
fn another_bound_is_in_force_with_its_reload() {
    let backend = holding();
    let keys = |most| format!("max_in_flight = {most}\nqueue_timeout = \"60s\"");
    let proxy = Proxy::start(&bounded(&backend, &keys(1)));
    let mut visitors = vec![asking(&proxy, "/1")];
    backend.next();
    visitors.push(waiting(&proxy, "/2", 1.0));
    visitors.push(waiting(&proxy, "/3", 2.0));
    std::fs::write(proxy.config_path(), bounded(&backend, &keys(2)).text()).unwrap();
    assert_eq!(backend.next().target(), "/2", "who waits is let in by it");
    assert_eq!(proxy.metric(LIMIT, &[]), 2.0);
    std::fs::write(proxy.config_path(), bounded(&backend, &keys(1)).text()).unwrap();
    proxy.wait_for_metric(LIMIT, &[], 1.0);
    backend.go_on();
    proxy.wait_for_metric("crossfade_requests_total", &[("code", "200")], 1.0);
    assert!(backend.seen().is_empty(), "one is in flight, and one may be");
    backend.go_on();
    assert_eq!(backend.next().target(), "/3");
    backend.go_on();
    visitors.iter_mut().for_each(|visitor| assert_eq!(visitor.response().status(), 200));
}

#[test]
fn streams_of_http2_wait_and_are_shed_like_connections() {
    let backend = holding();
    let proxy = Proxy::start(&bounded(&backend, "max_in_flight = 2\nmax_queue = 1"));
    let mut visitor = Http2::connect(proxy.address);
    let asked = std::thread::spawn(move || {
        let answers = visitor.ask_all((0..5).map(|_| (get("/"), None)).collect());
        answers.into_iter().map(|answer| answer.unwrap()).collect::<Vec<_>>()
    });
    proxy.wait_for_metric(REJECTED, &[("reason", "overloaded")], 2.0);
    assert_eq!(proxy.metric(WAITING, &[]), 1.0);
    (0..3).for_each(|_| backend.go_on());
    let answers = asked.join().unwrap();
    let (served, shed): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((served.len(), shed.len()), (3, 2));
    assert!(shed.iter().all(|answer| answer.status == 503 && answer.field("retry-after").is_some()));
}

#[test]
fn a_websocket_takes_a_place_until_it_is_open_and_no_longer() {
    let backend = holding();
    let proxy = Proxy::start(&bounded(&backend, "max_in_flight = 1\nmax_queue = 0"));
    let mut tunnel = proxy.visit();
    tunnel.send(handshake("/cable", ""));
    assert_eq!(tunnel.head().status(), 101);
    backend.go_on();
    assert_eq!(proxy.get("/").status(), 200);
    let mut first = asking(&proxy, "/1");
    assert_eq!(
        [backend.next(), backend.next(), backend.next()].map(|seen| seen.target().to_owned())[2],
        "/1"
    );
    let mut late = proxy.visit();
    late.send(handshake("/cable", ""));
    is_shed(&mut late, "overloaded");
    backend.go_on();
    assert_eq!(first.response().status(), 200);
}

/// Seen with 1500 uploads that stood still after their first byte: everybody else got 503.
#[test]
fn visitors_who_take_their_time_with_a_body_shut_nobody_out() {
    let backend = Backend::answering(ok("here"));
    let proxy = Proxy::start(&bounded(&backend, "max_in_flight = 4\nmax_queue = 30"));
    let mut slow: Vec<Visitor> = (0..30).map(|_| uploading(&proxy, "half")).collect();
    let mut normal = proxy.visit();
    (0..20).for_each(|_| assert_eq!(normal.get("/").status(), 200));
    slow.iter_mut().for_each(|visitor| assert!(visitor.send("half")));
    for visitor in &mut slow {
        assert_eq!(visitor.response().text(), "here", "each is served once it is whole");
    }
    assert_eq!((proxy.metric(WAITING, &[]), proxy.metric(SHED, &[])), (0.0, 0.0));
}

/// A visitor with a POST whose body has come so far, of eight bytes.
fn uploading(proxy: &Proxy, body: &str) -> Visitor {
    let mut visitor = proxy.visit();
    visitor.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n{body}"));
    visitor
}

#[test]
fn an_upload_that_was_slow_counts_again_when_it_is_whole() {
    let backend = holding();
    let proxy = Proxy::start(&bounded(&backend, "max_in_flight = 1\nmax_queue = 1"));
    let mut slow = uploading(&proxy, "half");
    let mut other = asking(&proxy, "/1");
    assert_eq!(backend.next().target(), "/1", "its place is another's meanwhile");
    slow.send("half");
    assert_eq!(backend.next().target(), "/up");
    backend.go_on();
    backend.go_on();
    assert_eq!((slow.response().status(), other.response().status()), (200, 200));
    let mut slow = uploading(&proxy, "half");
    let mut other = asking(&proxy, "/2");
    assert_eq!(backend.next().target(), "/2");
    backend.go_on();
    assert_eq!(other.response().status(), 200);
    slow.send("half");
    assert_eq!(backend.next().target(), "/up");
    let mut late = waiting(&proxy, "/3", 1.0);
    is_shed(&mut asking(&proxy, "/4"), "overloaded");
    backend.go_on();
    assert_eq!(slow.response().status(), 200);
    assert_eq!(backend.next().target(), "/3");
    backend.go_on();
    assert_eq!(late.response().status(), 200);
}

/// Seen with as many event streams as there were places: nobody else got in before one ended.
#[test]
fn what_streams_takes_no_place_from_anybody_nor_does_who_reads_slowly() {
    let backend = Backend::start(|mut peer| {
        while let Some(request) = peer.request() {
            match request.target() {
                "/events" => {
                    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n");
                    peer.await_word();
                }
                "/large" => {
                    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
                    peer.send(vec![b'x'; LARGE]);
                }
                _ => {
                    peer.send(ok(""));
                }
            }
        }
    });
    let proxy = Proxy::start(&bounded(&backend, "max_in_flight = 1\nmax_queue = 0"));
    let mut open = Vec::new();
    for path in ["/events", "/large", "/events", "/large"] {
        let mut visitor = asking(&proxy, path);
        assert_eq!(visitor.head().status(), 200, "{path}");
        open.push(visitor);
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert_eq!(proxy.metric("crossfade_requests_in_flight", &[]), 4.0, "they run on");
    assert_eq!(proxy.metric(SHED, &[]), 0.0);
}

/// More bytes than the kernel keeps.
const LARGE: usize = 16 * 1024 * 1024;

#[test]
fn a_backend_that_is_given_up_gives_its_place_free() {
    let backend = holding();
    let keys = "max_in_flight = 1\nmax_queue = 0\nfirst_byte_timeout = \"100ms\"";
    let proxy = Proxy::start(&bounded(&backend, keys));
    // Who reads nothing of our answer takes no place from anybody.
    let _silent = asking(&proxy, "/1");
    backend.next();
    proxy.wait_for_metric("crossfade_backend_failures_total", &[("reason", "first_byte_timeout")], 1.0);
    let mut second = asking(&proxy, "/2");
    assert_eq!(backend.next().target(), "/2");
    assert_eq!(second.response().status(), 504);
}

#[test]
fn an_overloaded_backend_sends_nobody_to_the_other_and_a_failover_takes_a_place_there() {
    let (stable, fly) = (holding(), holding());
    let keys = "max_in_flight = 1\nmax_queue = 0";
    let route = "stable = \"heroku\"\nweights = { heroku = 0, fly = 100 }";
    let of = |fly: &str| {
        Config::new().backend("heroku", &stable.url(), keys).backend("fly", fly, keys).route(route)
    };
    let shed = |proxy: &Proxy, backend| proxy.metric(SHED, &[("backend", backend)]);
    let proxy = Proxy::start(&of(&fly.url()));
    let _first = asking(&proxy, "/1");
    fly.next();
    is_shed(&mut asking(&proxy, "/2"), "overloaded");
    assert_eq!((shed(&proxy, "fly"), shed(&proxy, "heroku")), (1.0, 0.0));
    assert!(stable.seen().is_empty(), "a stampede stays where it is");

    let dead = Refusing::new();
    let proxy = Proxy::start(&of(&dead.url()));
    let mut first = asking(&proxy, "/1");
    assert_eq!(stable.next().target(), "/1");
    is_shed(&mut asking(&proxy, "/2"), "overloaded");
    assert_eq!(
        (shed(&proxy, "fly"), shed(&proxy, "heroku")),
        (0.0, 1.0),
        "its place at the dead one is free"
    );
    stable.go_on();
    assert_eq!(first.response().status(), 200);
}

#[test]
fn health_and_steering_go_on_while_both_backends_are_full() {
    let backends = [holding(), holding()];
    let keys = "max_in_flight = 1\nmax_queue = 0";
    let config =
        Config::new().backend("heroku", &backends[0].url(), keys).backend("fly", &backends[1].url(), keys);
    let route = "stable = \"heroku\"\nweights = { heroku = 50, fly = 50 }";
    let proxy = Proxy::start(&config.route(route).kept());
    let mut busy = [asking(&proxy, "/1"), asking(&proxy, "/2")];
    backends.iter().for_each(|backend| drop(backend.next()));
    (0..20).for_each(|_| is_shed(&mut asking(&proxy, "/more"), "overloaded"));
    assert_eq!((proxy.told_at("/healthz").0, proxy.told_at("/readyz").0), (200, 200));
    assert_eq!(proxy.metric(SHED, &[]), 20.0);
    assert_eq!(proxy.admin().see("status")["routes"].as_array().unwrap().len(), 1);
    proxy.steer("rollback");
    is_shed(&mut asking(&proxy, "/more"), "overloaded");
    backends.iter().for_each(Backend::go_on);
    busy.iter_mut().for_each(|visitor| assert_eq!(visitor.response().status(), 200));
}

#[test]
fn a_backend_that_is_removed_takes_its_series_with_it() {
    let backends = [holding(), holding()];
    let with = |backends: &[Backend]| {
        let named = backends.iter().zip(["only", "other"]);
        named.fold(Config::new(), |config, (backend, name)| config.backend(name, &backend.url(), ""))
    };
    let two = with(&backends).route("stable = \"only\"\nweights = { only = 1, other = 0 }");
    let proxy = Proxy::start(&two);
    assert!([WAITING, LIMIT, SHED].iter().all(|name| proxy.has_series(name, &[("backend", "other")])));
    std::fs::write(proxy.config_path(), with(&backends[..1]).text()).unwrap();
    proxy.wait_for_metric("crossfade_revision", &[], 2.0);
    assert!([WAITING, LIMIT, SHED].iter().all(|name| !proxy.has_series(name, &[("backend", "other")])));
    assert!(proxy.has_series(LIMIT, &[("backend", "only")]));
}

#[test]
fn a_bound_that_adapts_follows_what_the_backend_can_do() {
    // One at a time, each as long as it is told: more to do makes everybody wait.
    let (busy, millis) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(2)));
    let pace = Arc::clone(&millis);
    let backend = Backend::start(move |mut peer| {
        while peer.request().is_some() {
            wait_until("its turn", || !busy.swap(true, SeqCst));
            pause(Duration::from_millis(pace.load(SeqCst)));
            busy.store(false, SeqCst);
            peer.send(ok(""));
        }
    });
    let proxy = Proxy::start(&bounded(&backend, "adaptive_concurrency = true\nqueue_timeout = \"60s\""));
    proxy.wait_for_metric(LIMIT, &[], 32.0);
    let ended = Arc::new(AtomicBool::new(false));
    let visit = |_| {
        let (mut visitor, ended) = (proxy.visit(), Arc::clone(&ended));
        std::thread::spawn(move || {
            while !ended.load(SeqCst) {
                assert_eq!(visitor.get("/").status(), 200);
            }
        })
    };
    let calm = visit(0);
    wait_until("it grows while there is little to do", || proxy.metric(LIMIT, &[]) > 100.0);
    millis.store(4, SeqCst);
    let crowd: Vec<_> = (0..40).map(visit).collect();
    wait_until("it goes down", || proxy.metric(LIMIT, &[]) < 30.0);
    assert!(proxy.metric(WAITING, &[]) > 0.0);
    ended.store(true, SeqCst);
    crowd.into_iter().chain([calm]).for_each(|visitor| visitor.join().unwrap());
    assert_eq!((proxy.metric(WAITING, &[]), proxy.metric(SHED, &[])), (0.0, 0.0));
}
