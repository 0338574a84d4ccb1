//! Backends that speak HTTP/2: what they see, what comes back, and that requests share connections without loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderMap, Response, Version};

use crate::kit::certificates::Authority;
use crate::kit::http2::{Call, Http2Backend};
use crate::kit::{Backend, Config, Message, Peer, Proxy, ok, pause, wait_until};

const ALWAYS: &str = "http2 = \"always\"";
const MIB: usize = 1024 * 1024;

/// A proxy before a backend of HTTP/2 with prior knowledge that allows a hundred streams.
fn before<F>(script: impl Fn(Call) -> F + Send + 'static) -> (Http2Backend, Proxy)
where
    F: Future<Output = ()> + 'static,
{
    let backend = Http2Backend::start(100, script);
    let proxy = Proxy::start(&Config::of_url(&backend.url(), ALWAYS));
    (backend, proxy)
}

/// The configuration of a backend over TLS whose certificate `authority` has signed.
fn over_tls(authority: &Authority, url: &str, directory: &std::path::Path, http2: &str) -> Config {
    let url = url.replace("127.0.0.1", "localhost");
    let ca = authority.write(directory);
    Config::of_url(&url, &format!("ca_file = \"{}\"\nhttp2 = \"{http2}\"", ca.display()))
}

/// GETs `path` on `count` connections at the same time.
fn at_once(proxy: &Proxy, count: usize) -> Vec<Message> {
    let address = proxy.address;
    let visits = (0..count).map(|number| {
        thread::spawn(move || crate::kit::Visitor::connect(address).get(&format!("/{number}")))
    });
    let visits: Vec<_> = visits.collect();
    visits.into_iter().map(|visit| visit.join().unwrap()).collect()
}

#[test]
fn a_request_arrives_as_http2_has_it() {
    let (backend, proxy) = before(|call| async { call.answer("hello") });
    let mut visitor = proxy.visit();
    visitor.send(
        "GET /a?b=c HTTP/1.1\r\nHost: www.example.com\r\nCookie: a=1\r\nTE: trailers\r\n\
         Connection: TE, close, x-hop\r\nX-Hop: 1\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\n\r\n",
    );
    let response = visitor.response();
    assert_eq!((response.status(), response.text().as_str()), (200, "hello"));
    let head = backend.next().head;
    assert_eq!(head.version(), Version::HTTP_2);
    assert_eq!(head.uri().to_string(), format!("{}/a?b=c", backend.url()));
    let fields = head.headers();
    for gone in ["host", "connection", "x-hop", "upgrade", "keep-alive", "transfer-encoding"] {
        assert!(!fields.contains_key(gone), "{gone}: {fields:?}");
    }
    assert!(fields["te"] == "trailers" && fields["cookie"] == "a=1", "{fields:?}");
    assert_eq!(fields["x-forwarded-host"], "www.example.com");
}

#[test]
fn the_authority_follows_the_host_that_is_configured() {
    let backend = Http2Backend::start(100, |call| async { call.answer("") });
    for (host, authority) in [("preserve", "www.example.com"), ("app.internal:81", "app.internal:81")] {
        let proxy = Proxy::start(&Config::of_url(&backend.url(), &format!("{ALWAYS}\nhost = \"{host}\"")));
        assert_eq!(proxy.get("/").status(), 200);
        assert_eq!(backend.next().head.uri().authority().unwrap().as_str(), authority);
    }
}

#[test]
fn a_body_streams_both_ways_at_once() {
    let (backend, proxy) = before(|mut call| async move {
        let mut stream = call.begin();
        while let Some(data) = call.data().await {
            stream.send_data(data, false).unwrap();
        }
        stream.send_data("end".into(), true).unwrap();
    });
    let mut visitor = proxy.visit();
    visitor.send("POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(visitor.head().status(), 200);
    for word in ["one", "two", "three"] {
        visitor.send(format!("{:x}\r\n{word}\r\n", word.len()));
        wait_until(word, || visitor.has_received(word));
    }
    visitor.send("0\r\n\r\n");
    wait_until("the end", || visitor.has_received("end"));
    assert!(!backend.next().head.headers().contains_key("content-length"));
}

#[test]
fn a_large_body_goes_through_whole() {
    let (backend, proxy) = before(|mut call| async move {
        let body = call.body().await;
        call.answer(body);
    });
    let mut visitor = proxy.visit();
    let body: String = (0..400_000).map(|at| char::from(b'a' + u8::try_from(at % 23).unwrap())).collect();
    visitor
        .send(format!("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let response = visitor.response();
    assert!(response.whole && response.text() == body);
    assert_eq!(backend.next().head.headers()["content-length"], "400000");
}

#[test]
fn trailers_pass_both_ways() {
    let (backend, proxy) = before(|mut call| async move {
        assert_eq!(call.body().await, b"data");
        let sum = call.trailers().await.expect("trailers come")["x-sum"].clone();
        let head = Response::builder().header("trailer", "x-answer").body(()).unwrap();
        let mut stream = call.begin_with(head);
        stream.send_data("more".into(), false).unwrap();
        stream.send_trailers(HeaderMap::from_iter([("x-answer".parse().unwrap(), sum)])).unwrap();
    });
    let mut visitor = proxy.visit();
    visitor.send(
        "POST /x HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nConnection: TE\r\nTrailer: x-sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let response = visitor.response();
    assert_eq!((response.text().as_str(), response.trailers.as_str()), ("more", "x-answer: 7\n"));
    backend.next();
}

#[test]
fn many_requests_at_once_share_one_connection() {
    let (backend, proxy) = before(|call| async {
        call.await_word().await;
        call.answer("ok");
    });
    let address = proxy.address;
    let visits = thread::spawn(move || {
        let visit = |_| thread::spawn(move || crate::kit::Visitor::connect(address).get("/x").status());
        (0..40)
            .map(visit)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|visit| visit.join().unwrap())
            .collect::<Vec<_>>()
    });
    wait_until("all of them run", || backend.running() == 40);
    backend.go_on(40);
    assert_eq!(visits.join().unwrap(), [200; 40]);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_further_connection_is_opened_when_the_streams_are_used_up() {
    let backend = Http2Backend::start(4, |call| async {
        call.await_word().await;
        call.answer("ok");
    });
    let proxy = Proxy::start(&Config::of_url(&backend.url(), ALWAYS));
    let address = proxy.address;
    let visit = |_| thread::spawn(move || crate::kit::Visitor::connect(address).get("/x").status());
    let visits: Vec<_> = (0..10).map(visit).collect();
    wait_until("all of them run", || backend.running() == 10);
    assert_eq!(backend.accepted(), 3);
    backend.go_on(10);
    assert!(visits.into_iter().all(|visit| visit.join().unwrap() == 200));
    // With room on it, the first serves alone again.
    backend.go_on(1);
    assert_eq!(proxy.get("/x").status(), 200);
    assert_eq!(backend.accepted(), 3);
}

#[test]
fn no_request_is_lost_to_a_backend_that_goes_away_and_comes_back() {
    let (backend, proxy) = before(|call| async { call.answer("ok") });
    for round in 1..=20 {
        let answers = at_once(&proxy, 8);
        assert!(answers.iter().all(|answer| answer.status() == 200), "{answers:?}");
        backend.go_away();
        let mut visitor = proxy.visit();
        visitor.send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(visitor.response().status(), 200, "round {round}");
    }
    assert!(backend.accepted() > 1, "it went away");
}

#[test]
fn what_runs_when_a_backend_goes_away_ends_well_beside_new_requests() {
    let (backend, proxy) = before(|call| async {
        if call.head.uri().path() == "/slow" {
            call.await_word().await;
        }
        call.answer("ok");
    });
    let address = proxy.address;
    let slow = thread::spawn(move || crate::kit::Visitor::connect(address).get("/slow").status());
    assert_eq!(backend.next().connection, 0);
    backend.go_away();
    wait_until("new requests go elsewhere", || {
        assert_eq!(proxy.get("/new").status(), 200);
        backend.next().connection == 1
    });
    backend.go_on(1);
    assert_eq!(slow.join().unwrap(), 200);
}

#[test]
fn a_refused_stream_is_sent_again_whatever_its_method() {
    let (backend, proxy) =
        before(|call| async { if call.connection == 0 { call.refuse() } else { call.answer("ok") } });
    let mut visitor = proxy.visit();
    visitor.send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(visitor.response().status(), 200);
    assert_eq!((backend.next().connection, backend.next().connection), (0, 1));
    assert_eq!(proxy.metric("crossfade_retries_total", &[("reason", "unsent")]) as u64, 1);
}

#[test]
fn a_refused_request_is_sent_again_with_its_body_as_far_as_that_is_remembered() {
    let refused = AtomicBool::new(false);
    let (backend, proxy) = before(move |mut call| {
        let refuse = !refused.fetch_xor(true, Ordering::SeqCst);
        async move {
            if refuse {
                // All of the body that goes without our reading it has come by then.
                call.await_word().await;
                call.refuse();
            } else {
                let body = call.body().await;
                call.answer(body);
            }
        }
    });
    for (length, status) in [(10, 200), (10_000, 200), (30_000, 502)] {
        let body = "x".repeat(length);
        let mut visitor = proxy.visit();
        visitor
            .send(format!("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}"));
        backend.next();
        pause(Duration::from_millis(50));
        backend.go_on(1);
        let response = visitor.response();
        assert_eq!(response.status(), status, "{length}");
        assert!(status != 200 || response.text() == body, "{length}");
    }
}

/// Seen where the second attempt was answered before its body had gone: what was remembered and not yet sent was
/// forgotten, and the body had a hole.
#[test]
fn a_body_that_is_sent_again_arrives_whole_also_where_the_answer_comes_first() {
    let refused = AtomicBool::new(false);
    let backend = Http2Backend::start(100, move |mut call| {
        let refuse = !refused.fetch_xor(true, Ordering::SeqCst);
        async move {
            if refuse {
                call.body().await;
                return call.refuse();
            }
            let mut stream = call.begin();
            call.await_word().await;
            let length = call.body().await.len();
            stream.send_data(length.to_string().into(), true).unwrap();
        }
    });
    let config = Config::of_url(&backend.url(), ALWAYS).section("[limits]\nreplay_size = \"1MiB\"");
    let proxy = Proxy::start(&config);
    let mut visitor = proxy.visit();
    visitor.send(format!("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {MIB}\r\n\r\n"));
    visitor.send(vec![b'x'; MIB]);
    assert!(visitor.has_received("200 OK"));
    backend.go_on(1);
    assert_eq!(visitor.response().text(), MIB.to_string());
}

#[test]
fn a_visitor_who_leaves_resets_the_stream_and_not_the_connection() {
    let (backend, proxy) = before(|mut call| async move {
        if call.head.uri().path() == "/slow" {
            assert_eq!(call.await_reset().await, Some(h2::Reason::CANCEL));
        } else {
            call.answer("ok");
        }
    });
    let mut visitor = proxy.visit();
    visitor.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    backend.next();
    visitor.reset();
    wait_until("the stream is reset", || backend.running() == 0);
    assert_eq!(proxy.get("/x").status(), 200);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn visitors_who_do_not_read_hold_the_backend_back_and_nobody_else() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let (backend, proxy) = before(move |mut call| {
        let sent = Arc::clone(&counted);
        async move {
            if call.head.uri().path() == "/x" {
                return call.answer("ok");
            }
            let mut stream = call.begin();
            stream.reserve_capacity(MIB);
            while let Some(Ok(capacity)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                sent.fetch_add(capacity, Ordering::SeqCst);
                stream.send_data(vec![0; capacity].into(), false).unwrap();
                stream.reserve_capacity(MIB);
            }
        }
    });
    let slow = (0..12).map(|_| {
        let mut slow = proxy.visit();
        slow.send("GET /flood HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(slow.head().status(), 200);
        slow
    });
    let slow: Vec<_> = slow.collect();
    // Everything on the way is full by then.
    let mut before = usize::MAX;
    wait_until("the backend is held back", || {
        pause(Duration::from_millis(200));
        std::mem::replace(&mut before, sent.load(Ordering::SeqCst)) == sent.load(Ordering::SeqCst)
    });
    assert!(before < slow.len() * 16 * MIB, "{before} bytes went nowhere");
    let asked = Instant::now();
    assert_eq!(proxy.get("/x").status(), 200);
    assert!(asked.elapsed() < Duration::from_secs(5), "answered after {:?}", asked.elapsed());
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_backend_without_an_answer_costs_its_stream_alone() {
    let backend = Http2Backend::start(100, |mut call| async move {
        match call.head.uri().path() {
            "/x" => call.answer("ok"),
            _ => assert_eq!(call.await_reset().await, Some(h2::Reason::CANCEL)),
        }
    });
    let keys = format!("{ALWAYS}\nfirst_byte_timeout = \"150ms\"");
    let proxy = Proxy::start(&Config::of_url(&backend.url(), &keys));
    let response = proxy.get("/never");
    assert_eq!((response.status(), response.reason()), (504, Some("first_byte_timeout")));
    wait_until("the stream is reset", || backend.running() == 0);
    assert_eq!(proxy.get("/x").status(), 200);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn an_idle_connection_is_closed_in_its_time() {
    let backend = Http2Backend::start(100, |call| async { call.answer("ok") });
    let keys = format!("{ALWAYS}\npool_idle_timeout = \"100ms\"");
    let proxy = Proxy::start(&Config::of_url(&backend.url(), &keys));
    assert_eq!(proxy.get("/").status(), 200);
    wait_until("it is closed", || backend.open() == 0);
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn http2_is_taken_where_it_is_chosen_in_tls() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    for http2 in ["auto", "always"] {
        let tls = authority.server(&["localhost"]);
        let backend = Http2Backend::start_tls(&tls, 100, |call| async { call.answer("ok") });
        let proxy = Proxy::start(&over_tls(&authority, &backend.url(), directory.path(), http2));
        let answers = at_once(&proxy, 8);
        assert!(answers.iter().all(|answer| answer.status() == 200), "{http2}: {answers:?}");
        assert_eq!(backend.next().head.uri().scheme_str(), Some("https"));
        assert_eq!(backend.accepted(), 1, "{http2}");
    }
}

#[test]
fn a_backend_without_http2_falls_back_where_that_is_allowed() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let backend = Backend::start_tls(authority.server(&["localhost"]), |mut peer: Peer| {
        while peer.request().is_some() {
            peer.send(ok("old"));
        }
    });
    let proxy = Proxy::start(&over_tls(&authority, &backend.url(), directory.path(), "auto"));
    let answers = at_once(&proxy, 8);
    assert!(answers.iter().all(|answer| answer.text() == "old"), "{answers:?}");
    assert!(backend.next().line().ends_with("HTTP/1.1"));
    let proxy = Proxy::start(&over_tls(&authority, &backend.url(), directory.path(), "always"));
    let response = proxy.get("/");
    assert_eq!((response.status(), response.reason()), (502, Some("alpn")));
}

#[test]
fn a_backend_that_speaks_nothing_else_is_told_so() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.server(&["localhost"]);
    let backend = Http2Backend::start_tls(&tls, 100, |call| async { call.answer("ok") });
    let proxy = Proxy::start(&over_tls(&authority, &backend.url(), directory.path(), "never"));
    assert_eq!(proxy.get("/").reason(), Some("alpn"));
}

#[test]
fn prior_knowledge_that_is_wrong_is_found_out_before_a_request() {
    let backend = Backend::start(|mut peer: Peer| {
        peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        peer.hang();
    });
    let proxy = Proxy::start(&Config::of_url(&backend.url(), ALWAYS));
    let mut visitor = proxy.visit();
    visitor.send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
    let response = visitor.response();
    assert_eq!((response.status(), response.reason()), (502, Some("alpn")));
}

#[test]
fn a_backend_that_never_speaks_is_given_up_in_time() {
    let backend = Backend::start(|mut peer: Peer| peer.hang());
    let keys = format!("{ALWAYS}\nconnect_timeout = \"150ms\"");
    let proxy = Proxy::start(&Config::of_url(&backend.url(), &keys));
    assert_eq!(proxy.get("/").reason(), Some("connect_timeout"));
}

#[test]
fn another_choice_of_http2_takes_new_connections_at_the_next_request() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.server(&["localhost"]);
    let backend = Http2Backend::start_tls(&tls, 100, |call| async { call.answer("ok") });
    let proxy = Proxy::start(&over_tls(&authority, &backend.url(), directory.path(), "auto"));
    assert_eq!(proxy.get("/").status(), 200);
    let never = over_tls(&authority, &backend.url(), directory.path(), "never");
    std::fs::write(proxy.config_path(), never.text()).unwrap();
    wait_until("HTTP/1.1 is asked for", || proxy.get("/").reason() == Some("alpn"));
}
