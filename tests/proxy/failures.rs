//! What a backend does wrong gets 502 or 504 with its reason: one access record, one count, whatever happens.

use std::time::{Duration, Instant};

use crate::kit::backend::{Full, Refusing};
use crate::kit::certificates::Authority;
use crate::kit::{Backend, Config, Message, Peer, Proxy, ok, pause, wait_until};

const FAILURES: &str = "crossfade_backend_failures_total";
const ENDED: &str = "crossfade_requests_total";

/// Holds one failed request against what must be left of it.
fn fails_with(proxy: &Proxy, status: u16, reason: &str) {
    let response = proxy.get("/x");
    assert_eq!((response.status(), response.reason()), (status, Some(reason)), "{}", response.head);
    assert!(response.whole && !response.text().is_empty());
    assert_eq!(response.field("connection"), None, "the visitor's connection is as good as before");
    leaves_one_trace(proxy, status, reason);
}

/// One record and one count, of this status and reason.
fn leaves_one_trace(proxy: &Proxy, status: u16, reason: &str) {
    let code = status.to_string();
    proxy.wait_for_metric(ENDED, &[("backend", "only"), ("code", &code)], 1.0);
    proxy.wait_for_metric("crossfade_requests_in_flight", &[("backend", "only")], 0.0);
    assert_eq!(proxy.metric(ENDED, &[("backend", "only")]) as u64, 1);
    let record = proxy.only_record();
    // What may be tried again is, and fails again.
    let attempts = record["attempts"].as_u64();
    assert_eq!(Some(proxy.metric(FAILURES, &[("reason", reason)]) as u64), attempts);
    assert_eq!(Some(proxy.metric(FAILURES, &[]) as u64), attempts);
    assert_eq!((&record["status"], &record["reason"]), (&status.into(), &reason.into()), "{record}");
    assert_eq!((&record["backend"], &record["route"]), (&"only".into(), &"web".into()));
}

/// A proxy before a backend that plays `script`, with deadlines short enough to wait for.
fn before(script: impl Fn(Peer) + Send + Sync + 'static) -> (Backend, Proxy) {
    let backend = Backend::start(script);
    let config = Config::of_url(&backend.url(), "first_byte_timeout = \"400ms\"")
        .section("[timeouts]\nidle_body = \"200ms\"\nrequest = \"700ms\"");
    let proxy = Proxy::start(&config);
    (backend, proxy)
}

#[test]
fn a_backend_that_refuses_connections() {
    let nobody = Refusing::new();
    fails_with(&Proxy::start(&Config::of_url(&nobody.url(), "")), 502, "connect_refused");
}

#[test]
fn a_backend_that_takes_no_connection_in_time() {
    let full = Full::new();
    let proxy = Proxy::start(&Config::of_url(&full.url(), "connect_timeout = \"100ms\""));
    fails_with(&proxy, 504, "connect_timeout");
}

#[test]
fn a_backend_that_never_answers() {
    let (backend, proxy) = before(|mut peer| {
        peer.request();
        peer.hang();
    });
    fails_with(&proxy, 504, "first_byte_timeout");
    wait_until("its connection is closed", || backend.open() == 0);
}

#[test]
fn a_backend_that_sends_half_a_head_and_stops() {
    let (_backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nX: ");
        peer.hang();
    });
    fails_with(&proxy, 504, "first_byte_timeout");
}

#[test]
fn a_backend_that_resets_before_an_answer() {
    let (_backend, proxy) = before(|mut peer| {
        peer.request();
        peer.reset();
    });
    fails_with(&proxy, 502, "closed");
}

#[test]
fn a_backend_that_closes_within_its_head() {
    let (_backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nX: ");
    });
    fails_with(&proxy, 502, "closed");
}

#[test]
fn a_backend_that_answers_what_is_no_answer() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200));
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "\x15\x03\x01\0\x02\x02\x46 not http at all \r\n\r\n",
        "HTTP/3.7 200 OK\r\n\r\n",
        "HTTP/1.1 twohundred OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        many.as_str(),
        large.as_str(),
    ] {
        let text = answer.to_owned();
        let (backend, proxy) = before(move |mut peer| {
            peer.request();
            peer.send(&text);
            peer.hang();
        });
        println!("{:?}", &answer[..answer.len().min(70)]);
        fails_with(&proxy, 502, "bad_response");
        wait_until("its connection is dropped", || backend.open() == 0);
    }
}

/// The status line was good, and then it broke: the visitor has to see that.
fn is_cut(proxy: &Proxy, reason: &str) -> Message {
    let mut visitor = proxy.visit();
    let response = visitor.get("/x");
    assert_eq!(response.status(), 200);
    assert!(!response.whole, "the visitor must see that it is cut: {response:?}");
    leaves_one_trace(proxy, 200, reason);
    response
}

#[test]
fn a_body_cut_short_of_its_length_is_cut_for_the_visitor() {
    let (_backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    assert_eq!(is_cut(&proxy, "response_body_broken").text(), "half");
}

#[test]
fn a_chunked_body_without_its_end_has_none_for_the_visitor() {
    let (_backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    assert_eq!(is_cut(&proxy, "response_body_broken").text(), "half");
}

#[test]
fn a_body_reset_in_its_middle_is_cut_for_the_visitor() {
    let (_backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        peer.reset();
    });
    is_cut(&proxy, "response_body_broken");
}

#[test]
fn a_chunked_body_that_turns_into_garbage_is_cut_for_the_visitor() {
    let (_backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzzz\r\n");
        peer.hang();
    });
    is_cut(&proxy, "response_body_broken");
}

#[test]
fn a_body_that_stalls_is_cut_after_its_idle_time() {
    let (backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        peer.hang();
    });
    is_cut(&proxy, "response_body_timeout");
    wait_until("its connection is closed", || backend.open() == 0);
}

#[test]
fn a_body_that_trickles_for_ever_is_cut_when_the_whole_time_is_up() {
    let (_backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while peer.send("1\r\nx\r\n") {
            pause(Duration::from_millis(50));
        }
    });
    is_cut(&proxy, "request_timeout");
}

#[test]
fn a_backend_that_does_not_read_a_large_body() {
    let (_backend, proxy) = before(|mut peer| {
        peer.head();
        peer.stall(Duration::from_secs(2));
    });
    let mut visitor = proxy.visit();
    visitor.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
    let sent = visitor.send_until_stalled(50_000_000, Duration::from_millis(150));
    assert!(sent < 40_000_000, "the visitor is held back: {sent} bytes went");
    let response = visitor.response();
    assert_eq!((response.status(), response.reason()), (504, Some("write_timeout")), "{}", response.head);
    leaves_one_trace(&proxy, 504, "write_timeout");
}

#[test]
fn a_failure_is_a_page_or_json_as_the_visitor_accepts() {
    let nobody = Refusing::new();
    let proxy = Proxy::start(&Config::of_url(&nobody.url(), ""));
    for (accept, json) in [
        ("application/json", true),
        ("application/problem+json, */*;q=0.1", true),
        ("text/html,application/xhtml+xml,*/*;q=0.8", false),
        ("text/html, application/json", false),
        ("*/*", false),
    ] {
        let mut visitor = proxy.visit();
        visitor.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-7\r\nAccept: {accept}\r\n\r\n"));
        let response = visitor.response();
        assert_eq!(response.field("x-request-id"), Some("id-7"));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        let kind = response.field("content-type").unwrap_or_default();
        if json {
            assert_eq!(kind, "application/json", "{accept}");
            let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!((&body["status"], &body["error"]), (&502.into(), &"connect_refused".into()));
            assert_eq!(body["request_id"], "id-7");
        } else {
            assert_eq!(kind, "text/html; charset=utf-8", "{accept}");
            assert!(response.text().contains("connect_refused") && response.text().contains("id-7"));
        }
    }
    let mut visitor = proxy.visit();
    visitor.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(visitor.response_to("HEAD").status(), 502);
    assert_eq!(
        visitor.response().status(),
        502,
        "HEAD has no body, and the next answer stands where it should"
    );
}

#[test]
fn a_name_that_cannot_be_resolved_holds_nothing_back() {
    let good = Backend::answering(ok("good"));
    let config = Config::new()
        .backend("only", "http://nonexistent.invalid", "")
        .backend("good", &good.url(), "")
        .route("stable = \"only\"\nweights = { only = 1, good = 0 }\npin = { header = \"X-Pin\" }");
    let began = Instant::now();
    let proxy = Proxy::start(&config);
    assert!(began.elapsed() < Duration::from_secs(3), "startup took {:?}", began.elapsed());
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\nX-Pin: good\r\n\r\n");
    assert_eq!(visitor.response().text(), "good");
    assert_eq!(proxy.records().len(), 1);
    fails_with(&proxy, 502, "unresolved");
}

#[test]
fn a_backend_whose_authority_is_not_believed() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let backend = Backend::start_tls(unknown.server(&["127.0.0.1"]), |mut peer| drop(peer.request()));
    tls_fails(&backend, &known, "");
    assert_eq!(backend.seen().len(), 0, "not a byte of a request goes to whom we don't believe");
}

#[test]
fn a_backend_with_a_certificate_of_another_name() {
    let authority = Authority::new();
    let backend =
        Backend::start_tls(authority.server(&["other.example.com"]), |mut peer| drop(peer.request()));
    tls_fails(&backend, &authority, "host = \"www.example.com\"");
    assert_eq!(backend.seen().len(), 0);
}

#[test]
fn a_backend_that_speaks_no_tls_though_its_url_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Authority::new().write(directory.path());
    let silent = Backend::start(|mut peer| peer.hang());
    let keys = format!("ca_file = \"{}\"\nconnect_timeout = \"150ms\"", ca.display());
    let not_tls = Backend::start(|mut peer| {
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        peer.hang();
    });
    let url = not_tls.url().replace("http://", "https://");
    fails_with(&Proxy::start(&Config::of_url(&url, &keys)), 502, "tls");
    let url = silent.url().replace("http://", "https://");
    fails_with(&Proxy::start(&Config::of_url(&url, &keys)), 504, "connect_timeout");
}

fn tls_fails(backend: &Backend, believed: &Authority, keys: &str) {
    let directory = tempfile::tempdir().unwrap();
    let ca = believed.write(directory.path());
    let keys = format!("ca_file = \"{}\"\n{keys}", ca.display());
    fails_with(&Proxy::start(&Config::of_url(&backend.url(), &keys)), 502, "tls");
}

#[test]
fn a_backend_over_tls_gets_server_name_and_host_as_configured() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write(directory.path());
    let names = ["127.0.0.1", "app.example.com", "www.example.com"];
    let backend = Backend::start_tls(authority.server(&names), |mut peer| {
        while let Some(request) = peer.request() {
            let host = request.field("host").unwrap_or_default();
            let server_name = peer.server_name.clone().unwrap_or_default();
            let body = format!("{host} {server_name}");
            peer.send(ok(&body));
        }
    });
    let own = format!("{} ", backend.address);
    for (host, expected) in [
        ("host = \"app.example.com\"", "app.example.com app.example.com"),
        ("host = \"preserve\"", "www.example.com www.example.com"),
        ("host = \"backend\"", own.as_str()),
    ] {
        let keys = format!("ca_file = \"{}\"\n{host}", ca.display());
        let proxy = Proxy::start(&Config::of_url(&backend.url(), &keys));
        let mut visitor = proxy.visit();
        for _ in 0..5 {
            let response = visitor.get("/");
            assert_eq!((response.status(), response.text()), (200, expected.to_owned()), "{host}");
        }
    }
    assert_eq!(backend.accepted(), 3, "connections over TLS are reused as well");
}

#[test]
fn an_answer_of_any_framing_leaves_a_record_without_a_reason() {
    let backend = Backend::by(|request| match request.target() {
        "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned(),
        "/trailers" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                        2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
            .to_owned(),
        "/none" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/empty" => ok(""),
        _ => ok("ok"),
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    for path in ["/length", "/chunked", "/trailers", "/none", "/empty"] {
        assert!(visitor.get(path).whole);
        let record = proxy.only_record();
        assert_eq!(
            (&record["path"], &record["reason"]),
            (&path.into(), &serde_json::Value::Null),
            "{record}"
        );
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_visitor_who_half_closes_within_the_upload_is_told() {
    let backend = Backend::start(|mut peer| drop(peer.request()));
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = proxy.visit();
    visitor.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    visitor.half_close();
    let response = visitor.response();
    assert_eq!((response.status(), response.reason()), (400, Some("body_broken")));
}

#[test]
fn the_first_byte_deadline_holds_for_uploads_of_every_framing() {
    for body in [
        "Content-Length: 2\r\n\r\nok",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    ] {
        let (_backend, proxy) = before(|mut peer| {
            peer.request();
            peer.hang();
        });
        let mut visitor = proxy.visit();
        visitor.send(format!("POST /x HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!(visitor.response().reason(), Some("first_byte_timeout"), "{body}");
        leaves_one_trace(&proxy, 504, "first_byte_timeout");
    }
}

#[test]
fn an_upload_that_stalls_gets_408() {
    let (backend, proxy) = before(|mut peer| drop(peer.request()));
    let mut visitor = proxy.visit();
    visitor.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    let response = visitor.response();
    assert_eq!((response.status(), response.reason()), (408, Some("body_timeout")));
    assert!(visitor.is_closed_cleanly());
    wait_until("the upstream connection is closed", || backend.open() == 0);
    assert!(backend.seen().iter().all(|request| !request.whole), "it must not pass for whole");
}

#[test]
fn a_visitor_who_never_reads_is_ended_after_the_idle_time() {
    let (backend, proxy) = before(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        peer.send_until_stalled(100_000_000, Duration::from_secs(3));
    });
    let mut visitor = proxy.visit();
    visitor.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the upstream connection is closed", || backend.accepted() == 1 && backend.open() == 0);
    let record = proxy.only_record();
    assert_eq!((&record["status"], &record["reason"]), (&200.into(), &"slow_reader".into()), "{record}");
    assert_eq!(proxy.metric(FAILURES, &[]) as u64, 0, "it isn't the backend's fault");
    proxy.wait_for_metric("crossfade_rejected_requests_total", &[("reason", "slow_reader")], 1.0);
}

#[test]
fn a_response_may_have_as_many_fields_as_are_configured() {
    let backend = Backend::by(|request| {
        let fields = "X: y\r\n".repeat(request.target()[1..].parse().unwrap());
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n")
    });
    for (most, fields, status) in [(500, 450, 200), (500, 500, 502), (20, 15, 200), (20, 20, 502)] {
        let config = Config::of(&backend).section(&format!("[limits]\nheader_count = {most}"));
        assert_eq!(Proxy::start(&config).get(&format!("/{fields}")).status(), status, "{fields} of {most}");
    }
}

#[test]
fn a_response_has_one_length() {
    let backend = Backend::by(|request| match request.target() {
        "/list" => "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok".to_owned(),
    });
    let proxy = Proxy::start(&Config::of(&backend));
    assert_eq!(proxy.get("/list").reason(), Some("bad_response"));
    let response = proxy.get("/twice");
    assert_eq!((response.text().as_str(), response.fields("content-length")), ("ok", vec!["2"]));
}
