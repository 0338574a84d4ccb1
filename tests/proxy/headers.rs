//! What backends are told about the visitor, and what visitors get to see of the backend.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::kit::{Backend, Config, Message, Proxy, ok};

const BEHIND_ONE: &str = "[forwarded]\nx_for = 1\nx_proto = 1\nx_host = 1\nx_port = 1\nx_prefix = 1\n\
                          trusted = [\"127.0.0.0/8\"]";

/// What the backend receives of a request with these fields.
fn received(section: &str, keys: &str, fields: &str) -> Message {
    let backend = Backend::answering(ok("hello"));
    let proxy = Proxy::start(&Config::of_url(&backend.url(), keys).section(section));
    let mut visitor = proxy.visit();
    visitor.send(format!("GET / HTTP/1.1\r\n{fields}\r\n"));
    assert_eq!(visitor.response().status(), 200);
    backend.next()
}

/// Each of these stands there once, with this value.
fn says(request: &Message, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(request.field(name), Some(*value), "{name} in\n{}", request.head);
    }
}

#[test]
fn a_backend_learns_of_a_plain_visitor_what_is_true() {
    let request = received("", "", "Host: www.example.com:8080\r\nAccept: x\r\n");
    says(
        &request,
        &[
            ("accept", "x"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "www.example.com:8080"),
            ("x-forwarded-port", "8080"),
            ("x-real-ip", "127.0.0.1"),
            ("via", "1.1 crossfade"),
        ],
    );
    assert_eq!(request.field("x-forwarded-prefix"), None);
    let id = request.field("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let start = request.field("x-request-start").and_then(|start| start.strip_prefix("t=")).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert!(now.abs_diff(start.parse().unwrap()) < 10_000, "{start}");
}

const FORGED: &str = "Host: www.example.com\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 1\r\n\
    X-Forwarded-Prefix: /evil\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n\
    X-Forwarded-Ssl: on\r\nX-Scheme: https\r\nClient-IP: 6.6.6.6\r\nFly-Client-IP: 6.6.6.6\r\n\
    X-Request-Start: t=1\r\nTrue-Client-IP: 6.6.6.6\r\nProxy: http://6.6.6.6\r\n";

#[test]
fn a_visitor_who_is_not_believed_forges_nothing() {
    let request = received("", "", FORGED);
    says(
        &request,
        &[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "www.example.com"),
            ("x-forwarded-port", "80"),
            ("x-real-ip", "127.0.0.1"),
        ],
    );
    assert!(!request.head.contains("6.6.6.6") && !request.head.contains("evil"), "{}", request.head);
    assert_eq!((request.field("x-scheme"), request.field("x-forwarded-ssl")), (None, None));
    assert_ne!(request.field("x-request-start"), Some("t=1"));
}

#[test]
fn one_hop_in_front_is_believed_once() {
    let request = received(
        BEHIND_ONE,
        "",
        "Host: internal\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: www.example.com\r\nX-Forwarded-Prefix: /app\r\nX-Forwarded-Port: 443\r\n",
    );
    says(
        &request,
        &[
            ("x-forwarded-for", "203.0.113.7"),
            ("x-real-ip", "203.0.113.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "www.example.com"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-prefix", "/app"),
        ],
    );
}

#[test]
fn a_peer_that_is_not_trusted_is_not_believed_whatever_the_hops() {
    let section = BEHIND_ONE.replace("127.0.0.0/8", "10.0.0.0/8");
    let request = received(&section, "", FORGED);
    says(&request, &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")]);
}

#[test]
fn connection_removes_what_it_lists_but_nothing_of_ours() {
    let request = received(
        "",
        "",
        "Host: www.example.com\r\nConnection: close, X-Secret, X-Forwarded-For, Host, Cookie\r\n\
         X-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: x\r\nCookie: a=b\r\nTE: gzip\r\n",
    );
    says(&request, &[("x-forwarded-for", "127.0.0.1"), ("cookie", "a=b")]);
    for gone in ["x-secret", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade", "te"] {
        assert_eq!(request.field(gone), None, "{gone} in\n{}", request.head);
    }
    assert_eq!((request.field("http2-settings"), request.field("connection")), (None, None));
}

#[test]
fn the_host_is_the_one_that_was_configured() {
    let fields = "Host: www.example.com\r\n";
    says(&received("", "host = \"preserve\"", fields), &[("host", "www.example.com")]);
    says(&received("", "host = \"app.example.net\"", fields), &[("host", "app.example.net")]);
    let own = received("", "host = \"backend\"", fields);
    assert!(own.field("host").is_some_and(|host| host.starts_with("127.0.0.1:")));
}

#[test]
fn a_sane_request_id_is_kept_and_any_other_replaced() {
    let kept = received("", "", "Host: a\r\nX-Request-Id: trace-1.2_3\r\ntraceparent: 00-ab-cd-01\r\n");
    says(&kept, &[("x-request-id", "trace-1.2_3"), ("traceparent", "00-ab-cd-01")]);
    for odd in
        ["X-Request-Id: a b\r\n", "X-Request-Id: 1\r\nX-Request-Id: 2\r\n", "X-Request-Id: <script>\r\n"]
    {
        let request = received("", "", &format!("Host: a\r\n{odd}"));
        assert_eq!(request.field("x-request-id").map(str::len), Some(32), "{odd}");
    }
}

/// What the visitor at `www.example.com` receives of an answer with these fields; `BACKEND` stands for the
/// backend's address.
fn returned(section: &str, fields: &'static str) -> Message {
    let backend = Backend::start(move |mut peer| {
        let address = peer.address();
        while peer.request().is_some() {
            let fields = fields.replace("BACKEND", &address);
            peer.send(format!("HTTP/1.1 302 Found\r\n{fields}Content-Length: 0\r\n\r\n"));
        }
    });
    let proxy = Proxy::start(&Config::of(&backend).section(section));
    let mut visitor = proxy.visit();
    visitor.send("GET / HTTP/1.1\r\nHost: www.example.com\r\nX-Forwarded-Proto: https\r\n\r\n");
    visitor.response()
}

#[test]
fn what_names_the_backend_is_brought_back_to_the_public_name() {
    let response = returned(
        "",
        "Location: http://BACKEND/next?x=y\r\nContent-Location: //BACKEND/here\r\n\
         Refresh: 5; url=http://BACKEND/later\r\nSet-Cookie: a=b; Domain=127.0.0.1; Path=/\r\n\
         Set-Cookie: c=d; Domain=example.com\r\nLink: <http://BACKEND/x>\r\n",
    );
    assert_eq!(response.field("location"), Some("http://www.example.com/next?x=y"));
    assert_eq!(response.field("content-location"), Some("http://www.example.com/here"));
    assert_eq!(response.field("refresh"), Some("5; url=http://www.example.com/later"));
    assert_eq!(response.fields("set-cookie"), ["a=b; Path=/", "c=d; Domain=example.com"]);
}

#[test]
fn the_public_scheme_is_the_believed_one() {
    let response = returned(BEHIND_ONE, "Location: http://BACKEND/next\r\n");
    assert_eq!(response.field("location"), Some("https://www.example.com/next"));
}

#[test]
fn addresses_of_others_are_left_alone() {
    for other in
        ["https://accounts.example.net/?next=http://BACKEND/", "/relative", "http://www.example.com/x"]
    {
        let response = returned("", Box::leak(format!("Location: {other}\r\n").into_boxed_str()));
        let location = response.field("location").unwrap();
        assert!(other.split("BACKEND").all(|part| location.contains(part)), "{other} became {location}");
    }
}

#[test]
fn hop_by_hop_and_reporting_fields_of_a_backend_end_here() {
    let response = returned(
        "",
        "Connection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=9\r\nUpgrade: h2c\r\n\
         Proxy-Authenticate: Basic\r\nNEL: {}\r\nReport-To: {}\r\nReporting-Endpoints: x\r\nServer: app\r\n",
    );
    for gone in ["connection", "x-private", "keep-alive", "upgrade", "proxy-authenticate", "nel", "report-to"]
    {
        assert_eq!(response.field(gone), None, "{gone} in\n{}", response.head);
    }
    assert_eq!((response.field("reporting-endpoints"), response.field("server")), (None, Some("app")));
}
