//! Requests of HTTP/2 (RFC 9113 section 8): what is malformed reaches no backend, what is right arrives in HTTP/1.1.

use http::{HeaderMap, HeaderValue, Request};

use crate::kit::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, RST_STREAM, WHOLE, asking, block, frame, get,
    posting, request,
};
use crate::kit::http2_client::{Http2, Sent, get as visit, request as asked};
use crate::kit::{Backend, Config, Peer, Proxy, ok, wait_until};

type Fields = Vec<(&'static str, &'static str)>;

/// The fields of a GET to `/never` with another value, or none, in place of `name`'s.
fn with(name: &'static str, value: Option<&'static str>) -> Fields {
    let fields = get("/never").into_iter().filter(|(field, _)| *field != name);
    fields.chain(value.map(|value| (name, value))).collect()
}

/// … and with `field` behind them.
fn behind(name: &'static str, value: &'static str) -> Fields {
    [get("/never"), vec![(name, value)]].concat()
}

fn malformed() -> Vec<(&'static str, Fields)> {
    let late = [vec![("x-a", "b")], get("/never")].concat();
    vec![
        ("no :method", with(":method", None)),
        ("no :path", with(":path", None)),
        ("no :scheme", with(":scheme", None)),
        ("an empty :path", with(":path", Some(""))),
        ("an empty :method", with(":method", Some(""))),
        ("an empty :scheme", with(":scheme", Some(""))),
        ("a :path that is none", with(":path", Some("never"))),
        ("a :path of * for GET", with(":path", Some("*"))),
        ("a :path with a space", with(":path", Some("/never /x"))),
        ("a :path with a line's end", with(":path", Some("/never HTTP/1.1\r\nx: y"))),
        ("a :method with a space", with(":method", Some("GET /x"))),
        ("a :scheme that is none", with(":scheme", Some("ht tp"))),
        ("another :scheme", with(":scheme", Some("ftp"))),
        ("an :authority with userinfo", with(":authority", Some("u@a.example"))),
        ("an :authority with a line's end", with(":authority", Some("a\r\nx: y"))),
        ("an empty :authority", with(":authority", Some(""))),
        ("neither :authority nor host", with(":authority", None)),
        (":method twice", behind(":method", "GET")),
        (":path twice", behind(":path", "/never")),
        (":scheme twice", behind(":scheme", "http")),
        (":authority twice", behind(":authority", "a.example")),
        ("a pseudo-header after a field", late),
        ("an unknown pseudo-header", behind(":x", "y")),
        ("that of a response", behind(":status", "200")),
        (":protocol that nobody offered", behind(":protocol", "websocket")),
        ("an uppercase name", behind("X-A", "b")),
        ("a name with a space", behind("x a", "b")),
        ("a name with a colon", behind("x:a", "b")),
        ("an empty name", behind("", "b")),
        ("a value with CR and LF", behind("x-a", "b\r\nx-c: d")),
        ("a value with LF", behind("x-a", "b\nc")),
        ("a value with NUL", behind("x-a", "b\0c")),
        ("connection", behind("connection", "keep-alive")),
        ("keep-alive", behind("keep-alive", "timeout=5")),
        ("proxy-connection", behind("proxy-connection", "keep-alive")),
        ("transfer-encoding", behind("transfer-encoding", "chunked")),
        ("upgrade", behind("upgrade", "h2c")),
        ("te of something else", behind("te", "gzip")),
        ("te of trailers and something else", behind("te", "trailers, gzip")),
        ("a host that differs", behind("host", "b.example")),
        ("a host twice", [behind("host", "a.example"), vec![("host", "a.example")]].concat()),
        ("a host that is none", behind("host", "a b")),
        ("content-length without a body", behind("content-length", "5")),
        ("content-length that is none", behind("content-length", "+0")),
        ("two content-lengths", [behind("content-length", "0"), vec![("content-length", "1")]].concat()),
    ]
}

/// Requests with a body that breaks the rules after a right begin; `*` stands for `content-length: 5`.
fn bodies() -> Vec<(&'static str, bool, Vec<u8>)> {
    let trailers = |flags: u8, fields: &[(&str, &str)]| frame(HEADERS, flags, 1, block(fields));
    let data = |flags: u8, bytes: &str| frame(DATA, flags, 1, bytes);
    vec![
        ("less than content-length", true, data(END_STREAM, "four")),
        ("more than content-length", true, data(END_STREAM, "sixsix")),
        ("more in two frames", true, [data(0, "five5"), data(END_STREAM, "x")].concat()),
        ("less, and trailers", true, [data(0, "four"), trailers(WHOLE, &[("x-a", "b")])].concat()),
        (
            "a pseudo-header behind a trailer",
            false,
            [data(0, "x"), trailers(WHOLE, &[("x-a", "b"), (":path", "/x")])].concat(),
        ),
        (
            "trailers that don't end it",
            false,
            [data(0, "x"), trailers(END_HEADERS, &[("x-a", "b")])].concat(),
        ),
        ("trailers in uppercase", false, [data(0, "x"), trailers(WHOLE, &[("X-A", "b")])].concat()),
        ("trailers of the connection", false, trailers(WHOLE, &[("connection", "close")])),
        ("a second request", false, frame(HEADERS, END_HEADERS, 1, block(&get("/never")))),
        ("a reset", false, [data(0, "x"), frame(RST_STREAM, 0, 1, [0, 0, 0, 8])].concat()),
    ]
}

/// Tells each whole request; answers it.
fn telling() -> (Backend, Proxy) {
    let backend = Backend::answering(ok("hello"));
    let proxy = Proxy::start(&Config::of(&backend));
    (backend, proxy)
}

#[test]
fn a_malformed_request_is_reset_or_answered_400_and_never_forwarded() {
    let (backend, proxy) = telling();
    for (what, fields) in malformed() {
        let mut visitor = Frames::open(proxy.address, &[]);
        visitor.send(frame(HEADERS, WHOLE, 1, block(&fields)));
        let outcome = visitor.outcome(1);
        let right = [Outcome::Stream(1), Outcome::Connection(1), Outcome::Status(400)];
        assert!(right.contains(&outcome), "{what}: {outcome:?}");
        if !matches!(outcome, Outcome::Connection(_)) {
            visitor.send(asking(3, "/right"));
            assert_eq!(visitor.outcome(3), Outcome::Status(200), "the connection lives on: {what}");
        }
    }
    let seen = backend.seen();
    let wrong = seen.iter().find(|request| request.target() != "/right");
    assert!(wrong.is_none(), "{wrong:?}");
}

#[test]
fn a_body_against_the_rules_never_passes_for_whole() {
    let (backend, proxy) = telling();
    for (what, length, rest) in bodies() {
        let mut visitor = Frames::open(proxy.address, &[]);
        let mut fields = request("POST", "/never");
        fields.extend(length.then_some(("content-length", "5")));
        visitor.send([frame(HEADERS, END_HEADERS, 1, block(&fields)), rest].concat());
        if what == "a reset" {
            visitor.send(asking(3, "/right"));
            assert_eq!(visitor.outcome(3), Outcome::Status(200));
            continue;
        }
        let outcome = visitor.outcome(1);
        let right = [Outcome::Stream(1), Outcome::Connection(1), Outcome::Status(400)];
        assert!(right.contains(&outcome), "{what}: {outcome:?}");
    }
    proxy.wait_for_metric("crossfade_requests_in_flight", &[], 0.0);
    wait_until("what was begun for them is over", || backend.open() <= 1);
    let seen = backend.seen();
    let wrong = seen.iter().find(|request| request.target() == "/never" && request.whole);
    assert!(wrong.is_none(), "{wrong:?}");
}

/// Two things are read over by the library in place of being refused; what is sent on is right all the same.
#[test]
fn a_fragment_and_a_pseudo_header_among_trailers_go_no_further() {
    let (backend, proxy) = telling();
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send(frame(HEADERS, WHOLE, 1, block(&with(":path", Some("/a?b#c")))));
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    assert_eq!(backend.next().target(), "/a?b");
    let announced = [request("POST", "/a"), vec![("trailer", ":path, x-a")]].concat();
    visitor.send(frame(HEADERS, END_HEADERS, 3, block(&announced)));
    visitor.send(frame(HEADERS, WHOLE, 3, block(&[(":path", "/x"), ("x-a", "b")])));
    assert_ne!(visitor.outcome(3), Outcome::Closed);
    assert_eq!(backend.next().trailers, "x-a: b\n");
}

#[test]
fn a_request_arrives_as_one_of_http_1() {
    let (backend, proxy) = telling();
    let mut visitor = Http2::connect(proxy.address);
    let request = Request::get("http://www.example.com:81/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2; c=3")
        .header("te", "trailers")
        .header("x-own", "kept");
    let answer = visitor.ask(request.body(()).unwrap()).unwrap();
    assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()));
    let request = backend.next();
    assert_eq!(request.line(), "GET /a?b=c HTTP/1.1");
    let address = backend.address.to_string();
    for (name, value) in [
        ("host", address.as_str()),
        ("cookie", "a=1; b=2; c=3"),
        ("x-own", "kept"),
        ("via", "2 crossfade"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "www.example.com:81"),
    ] {
        assert_eq!(request.field(name), Some(value), "{name} in {}", request.head);
    }
    assert_eq!((request.field("te"), request.field("connection")), (Some("trailers"), Some("TE")));
    for name in [":authority", "transfer-encoding", "content-length", "upgrade"] {
        assert_eq!(request.field(name), None, "{name} in {}", request.head);
    }
    let record = proxy.record();
    assert_eq!((&record["protocol"], &record["host"]), (&"HTTP/2".into(), &"www.example.com:81".into()));
}

#[test]
fn a_browsers_many_cookies_are_one_field() {
    let (backend, proxy) = telling();
    let mut request = visit("/");
    for number in 0..180 {
        request.headers_mut().append("cookie", HeaderValue::try_from(format!("c{number}=v")).unwrap());
    }
    assert_eq!(Http2::connect(proxy.address).ask(request).unwrap().status, 200);
    let joined = (0..180).map(|number| format!("c{number}=v")).collect::<Vec<_>>().join("; ");
    assert_eq!(backend.next().field("cookie"), Some(joined.as_str()));
}

#[test]
fn what_is_said_before_an_answer_does_not_disturb_it() {
    let backend = Backend::start(|mut peer: Peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
            peer.send(ok("hello"));
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = Http2::connect(proxy.address);
    assert_eq!(visitor.get("/").text(), "hello");
    let mut request = asked("POST", "/");
    request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    let sent = Sent { body: b"at once".to_vec(), trailers: HeaderMap::new() };
    assert_eq!(visitor.send(request, sent).unwrap().text(), "hello");
    assert_eq!(backend.seen().pop().unwrap().text(), "at once");
}

#[test]
fn the_authority_is_the_host_where_the_backend_wants_the_visitors() {
    let backend = Backend::answering(ok("hello"));
    let proxy = Proxy::start(&Config::of_url(&backend.url(), "host = \"preserve\""));
    let mut visitor = Http2::connect(proxy.address);
    assert_eq!(visitor.get("/").status, 200);
    assert_eq!(backend.next().field("host"), Some("www.example.com"));
    let mut visitor = Frames::open(proxy.address, &[]);
    let fields = [with(":authority", None), vec![("host", "by.field.example")]].concat();
    visitor.send(frame(HEADERS, WHOLE, 1, block(&fields)));
    assert_eq!(visitor.outcome(1), Outcome::Status(200));
    assert_eq!(backend.next().field("host"), Some("by.field.example"));
}

#[test]
fn a_host_beside_another_authority_is_refused_by_name() {
    let (backend, proxy) = telling();
    let mut visitor = Http2::connect(proxy.address);
    let mut request = visit("/");
    request.headers_mut().insert("host", HeaderValue::from_static("b.example"));
    let answer = visitor.ask(request).unwrap();
    assert_eq!((answer.status, answer.field("x-crossfade-error")), (400, Some("host_differs")));
    assert_eq!(visitor.get("/").status, 200, "the connection lives on");
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn a_body_goes_by_its_length_or_in_chunks_and_with_its_trailers() {
    let (backend, proxy) = telling();
    let mut visitor = Http2::connect(proxy.address);
    let body: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    for (length, trailers) in [(true, HeaderMap::new()), (false, HeaderMap::new()), (false, trailers)] {
        let mut request = asked("POST", "/upload");
        if length {
            request.headers_mut().insert("content-length", HeaderValue::from(body.len()));
        }
        if !trailers.is_empty() {
            // hyper passes on those that were announced.
            request.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        }
        let sent = Sent { body: body.clone(), trailers: trailers.clone() };
        assert_eq!(visitor.send(request, sent).unwrap().status, 200);
        let request = backend.next();
        assert!(request.whole && request.body == body, "{}", request.head);
        assert_eq!(request.field("content-length").is_some(), length, "{}", request.head);
        assert_eq!(request.field("transfer-encoding"), (!length).then_some("chunked"), "{}", request.head);
        assert_eq!(request.trailers, if trailers.is_empty() { "" } else { "x-sum: 7\n" });
    }
}

#[test]
fn fields_of_the_connection_never_come_back() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
         Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nX-End: 1\r\nTransfer-Encoding: chunked\r\n\
         Trailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\nConnection: close\r\n\r\n",
    );
    let proxy = Proxy::start(&Config::of(&backend));
    let answer = Http2::connect(proxy.address).get("/");
    assert_eq!((answer.text(), answer.field("x-end")), ("hello".to_owned(), Some("1")));
    for name in
        ["connection", "keep-alive", "x-hop", "proxy-connection", "te", "upgrade", "transfer-encoding"]
    {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert_eq!(answer.trailers.get("x-sum"), Some(&HeaderValue::from_static("7")));
    assert_eq!(answer.trailers.get("connection"), None);
}

#[test]
fn answers_without_a_body_have_none() {
    let backend = Backend::start(|mut peer: Peer| {
        while let Some(request) = peer.request() {
            peer.send(match request.target() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n".to_owned(),
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned(),
                _ => ok(""),
            });
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = Http2::connect(proxy.address);
    for (method, path, status, length) in [
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, Some("7")),
        ("HEAD", "/head", 200, Some("7")),
        ("GET", "/empty", 200, Some("0")),
    ] {
        let answer = visitor.ask(asked(method, path)).unwrap();
        assert_eq!((answer.status, answer.text()), (status, String::new()), "{path}");
        assert_eq!(answer.field("content-length"), length, "{path}");
    }
    assert_eq!(backend.accepted(), 1, "its connection is used on");
}

#[test]
fn a_hundred_requests_at_once_get_each_its_own_answer() {
    let backend = Backend::by(|request| ok(request.target()));
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = Http2::connect(proxy.address);
    let requests = (0..300).map(|number| {
        let sent = Sent { body: vec![b'x'; 1000 * number], trailers: HeaderMap::new() };
        (asked("POST", &format!("/{number}")), (number % 3 == 0).then_some(sent))
    });
    for (number, answer) in visitor.ask_all(requests.collect()).into_iter().enumerate() {
        assert_eq!(answer.unwrap().text(), format!("/{number}"));
    }
}

#[test]
fn a_request_that_is_reset_ends_the_backends_work_and_is_recorded() {
    let backend = Backend::start(|mut peer| {
        peer.request();
        peer.hang();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send(asking(1, "/x"));
    backend.next();
    visitor.send(frame(RST_STREAM, 0, 1, [0, 0, 0, 8]));
    wait_until("the upstream connection is closed", || backend.open() == 0);
    let record = proxy.only_record();
    assert_eq!((&record["status"], &record["reason"]), (&499.into(), &"visitor_gone".into()));
    proxy.wait_for_metric("crossfade_requests_in_flight", &[], 0.0);
}

#[test]
fn an_answer_that_breaks_off_is_reset_and_never_passes_for_whole() {
    let backend = Backend::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = Http2::connect(proxy.address);
    let answer = visitor.ask(visit("/"));
    assert!(answer.as_ref().is_err_and(h2::Error::is_reset), "{answer:?}");
    assert_eq!(proxy.only_record()["reason"], "response_body_broken");
}

#[test]
fn sizes_are_held_to_their_limits() {
    let backend = Backend::answering(ok("hello"));
    let limits =
        "[limits]\nhead_size = \"4KiB\"\ntarget_size = \"1KiB\"\nheader_count = 20\nbody_size = \"1KiB\"";
    let proxy = Proxy::start(&Config::of(&backend).section(limits));
    let mut visitor = Http2::connect(proxy.address);
    let mut large = visit("/");
    large.headers_mut().insert("x", HeaderValue::try_from("y".repeat(5000)).unwrap());
    let mut many = visit("/");
    for _ in 0..30 {
        many.headers_mut().append("x", HeaderValue::from_static("y"));
    }
    let mut told = asked("POST", "/");
    told.headers_mut().insert("content-length", HeaderValue::from(2000));
    let sent = || Some(Sent { body: vec![0; 2000], trailers: HeaderMap::new() });
    for (request, sent, status) in [
        (large, None, 431),
        (many, None, 431),
        (visit(&format!("/{}", "x".repeat(2000))), None, 414),
        (told, sent(), 413),
        (asked("POST", "/"), sent(), 413),
        (asked("CONNECT", "/"), None, 405),
        (asked("TRACE", "/"), None, 405),
    ] {
        let shown = format!("{} {status}", request.method());
        let Ok(answer) = visitor.ask_all(vec![(request, sent)]).remove(0) else {
            assert_eq!(shown, "CONNECT 405", "the client doesn't send one with a path");
            continue;
        };
        assert_eq!(answer.status, status, "{shown}");
    }
    assert_eq!(visitor.get("/").status, 200, "the connection lives on");
}

#[test]
fn an_upload_may_be_answered_before_its_end() {
    let backend = Backend::start(|mut peer| {
        peer.head();
        peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        peer.hang();
    });
    let proxy = Proxy::start(&Config::of(&backend));
    let mut visitor = Frames::open(proxy.address, &[]);
    visitor.send([posting(1, "/x"), frame(DATA, 0, 1, "some")].concat());
    assert_eq!(visitor.outcome(1), Outcome::Status(403));
}
