//! Tests of `api`: every answer, over real sockets.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::document::document;
use super::operations::ROUTES;
use super::stage::{Events, Stage, TOKEN, ask, post, request, with_token};
use crate::control::command::{Applied, Driver, Outcome, Refused, RefusedReason, Steer, Verb};
use crate::telemetry::metrics::MethodLabel;

/// What is counted in two seconds.
fn count(stage: &Stage) {
    let look = |second| stage.sampler.look(Duration::from_secs(second), UNIX_EPOCH);
    look(0);
    let series = stage.metrics.series("web", "fly");
    for status in [200, 200, 200, 500] {
        series.request(MethodLabel::Get, status);
        series.duration(Duration::from_millis(1));
    }
    series.first_byte(Duration::from_millis(1));
    (2..=10).for_each(look);
}

#[tokio::test]
async fn the_status_tells_what_is_live_and_how_it_does() {
    let stage = Stage::begin();
    count(&stage);
    let status = stage.unix(&request("GET", "/api/v1/status", "Host: localhost\r\n")).await.json();
    assert_eq!((&status["version"], &status["revision"]), (&json!("1.2.3"), &json!(3)));
    assert_eq!((&status["window_seconds"], &status["draining"]), (&json!(10.0), &json!(false)));
    assert!(status["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{status}");
    let route = &status["routes"][0];
    assert_eq!(
        (&route["stable"], &route["overridden"], &route["mode"]),
        (&"heroku".into(), &true.into(), &"open".into())
    );
    let names: Vec<&Value> = route["backends"].as_array().unwrap().iter().map(|b| &b["name"]).collect();
    assert_eq!(names, ["heroku", "fly"], "stable first");
    let (heroku, fly) = (&route["backends"][0], &route["backends"][1]);
    assert_eq!((&fly["weight"], &fly["file_weight"]), (&json!(5.0), &json!(0.0)));
    assert_eq!((&fly["requests_per_second"], &fly["error_ratio"]), (&json!(0.4), &json!(0.25)));
    assert_eq!((&fly["p50"], &fly["p99"], &fly["up"]), (&json!(0.0005), &json!(0.00099), &json!(true)));
    assert_eq!((&fly["last_answer_seconds"], heroku.get("last_answer_seconds")), (&json!(8.0), None));
    assert_eq!((heroku.get("p50"), &heroku["requests_per_second"]), (None, &json!(0.0)));
    assert_eq!(status["history"][0]["revision"], 3);
}

#[tokio::test]
async fn history_difference_configuration_and_series_are_told() {
    let stage = Stage::begin();
    count(&stage);
    let ask = async |path: &str| stage.unix(&request("GET", path, "Host: localhost\r\n")).await.json();
    let revisions = |history: Value| -> Vec<u64> {
        history["revisions"].as_array().unwrap().iter().filter_map(|r| r["revision"].as_u64()).collect()
    };
    assert_eq!(revisions(ask("/api/v1/history").await), [3, 2, 1]);
    assert_eq!(revisions(ask("/api/v1/history?limit=2").await), [3, 2]);
    let diff = ask("/api/v1/diff").await;
    let change = &diff["changes"][0];
    assert_eq!((&change["route"], &change["from"]["weights"]["fly"]), (&json!("web"), &json!(0.0)));
    assert_eq!((&change["to"]["weights"]["fly"], &diff["revision"]), (&json!(5.0), &json!(3)));
    let config = ask("/api/v1/config").await;
    assert_eq!((&config["file"], &config["text"]), (&json!("/etc/crossfade.toml"), &json!("# it\n")));
    assert_eq!(config["routes"]["web"]["weights"]["heroku"], 95.0);
    let series = ask("/api/v1/series").await;
    assert_eq!((&series["step_seconds"], &series["at"]), (&json!(5), &json!([0.0])));
    let fly = &series["lines"][0];
    assert_eq!(
        (&fly["backend"], &fly["weight"], &fly["error_ratio"]),
        (&json!("fly"), &json!([5.0]), &json!([0.25]))
    );
}

#[tokio::test]
async fn a_command_is_asked_of_the_controller_in_its_drivers_name() {
    let (seen, asked) = channel();
    let stage = Stage::steered(move |steer, driver| {
        seen.send((steer, driver)).unwrap();
        let (changes, notes) = (Vec::new(), vec!["heroku answered 1 s ago".to_owned()]);
        Outcome::Live(Applied { revision: 4, dry_run: false, changes, notes, kept: true })
    });
    let answer = stage.command(r#"{"command":"rollback","actor":"Kim"}"#).await;
    let applied = json!({
        "revision": 4, "dry_run": false, "changes": [], "notes": ["heroku answered 1 s ago"], "kept": true
    });
    assert_eq!((answer.status, answer.json()), (200, applied));
    let body = r#"{"command":"rollback"}"#;
    let fields = format!(
        "Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    assert_eq!(stage.tcp(&(request("POST", "/api/v1/commands", &fields) + body)).await.status, 200);
    let asked: Vec<(Steer, Driver)> = asked.try_iter().collect();
    let drivers: Vec<(&str, &str)> = asked.iter().map(|(_, driver)| (&*driver.actor, driver.via)).collect();
    assert_eq!(asked[0].0.verb, Verb::Rollback);
    assert!(drivers[0].0.starts_with("Kim (uid ") && drivers[0].1 == "socket", "{drivers:?}");
    assert_eq!(drivers[1], ("token", "admin"));
}

#[tokio::test]
async fn each_refusal_of_the_controller_has_its_status() {
    let stage = Stage::steered(|steer, _| {
        let reason = serde_json::from_value(json!(steer.reason)).unwrap();
        Outcome::Refused(Refused { error: "one clear sentence".to_owned(), reason })
    });
    for (reason, status) in [
        ("stale_revision", 409),
        ("unknown_route", 422),
        ("unknown_backend", 422),
        ("invalid", 422),
        ("configuration", 422),
        ("ending", 503),
    ] {
        let answer = stage.command(&format!(r#"{{"command":"rollback","reason":"{reason}"}}"#)).await;
        assert_eq!((answer.status, &*answer.reason()), (status, reason));
    }
    let answer = Stage::begin().command(r#"{"command":"rollback"}"#).await;
    assert_eq!((answer.status, &*answer.reason()), (503, "ending"), "there is no Controller any more");
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_before_anybody_is_asked() {
    let stage = Stage::steered(|steer, _| panic!("asked for {steer:?}"));
    let long = format!(r#"{{"command":"rollback","reason":"{}"}}"#, "x".repeat(70_000));
    for (body, status, reason) in [
        ("", 400, "malformed"),
        ("{", 400, "malformed"),
        ("[]", 400, "malformed"),
        (r#"{"command":"explode"}"#, 400, "malformed"),
        (r#"{"command":"rollback","colour":1}"#, 400, "malformed"),
        (r#"{"command":"rollback","command":"drain"}"#, 400, "malformed"),
        (r#"{"command":"shift","backend":"fly","percent":1e999}"#, 400, "malformed"),
        (r#"{"command":"undo","revision":-1}"#, 400, "malformed"),
        (r#"{"command":"shift","backend":"fly","percent":101}"#, 422, "invalid"),
        (&long, 413, "unsupported"),
    ] {
        let answer = stage.command(body).await;
        let shown = &body[..body.len().min(60)];
        assert_eq!((answer.status, &*answer.reason()), (status, reason), "{shown}");
    }
    for fields in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"]
    {
        let answer = stage.unix(&post("/api/v1/commands", fields, r#"{"command":"rollback"}"#)).await;
        assert_eq!((answer.status, &*answer.reason()), (415, "unsupported"), "{fields}");
    }
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?limit=1&limit=1", "?colour=1"] {
        let answer =
            stage.unix(&request("GET", &format!("/api/v1/history{query}"), "Host: localhost\r\n")).await;
        assert_eq!((answer.status, &*answer.reason()), (400, "malformed"), "{query}");
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused_in_the_same_form() {
    let stage = Stage::steered(|steer, _| panic!("asked for {steer:?}"));
    for (method, path, status, reason, allow) in [
        ("GET", "/api/v1/nothing", 404, "not_found", None),
        ("GET", "/api/v1/status/", 404, "not_found", None),
        ("POST", "/nothing", 404, "not_found", None),
        ("GET", "/api/v1/commands", 405, "method_not_allowed", Some("POST")),
        ("HEAD", "/api/v1/commands", 405, "", Some("POST")),
        ("PUT", "/api/v1/commands", 405, "method_not_allowed", Some("POST")),
        ("POST", "/api/v1/status", 405, "method_not_allowed", Some("GET,HEAD")),
        ("DELETE", "/", 405, "method_not_allowed", Some("GET,HEAD")),
        ("OPTIONS", "/api/v1/commands", 405, "method_not_allowed", Some("POST")),
    ] {
        let answer = stage.unix(&request(method, path, "Host: localhost\r\n")).await;
        assert_eq!((answer.status, answer.field("Allow")), (status, allow), "{method} {path}");
        if method != "HEAD" {
            assert_eq!(answer.reason(), reason);
        }
    }
}

#[tokio::test]
async fn every_answer_is_of_the_moment_and_for_this_site_alone() {
    let stage = Stage::begin();
    let preflight = "Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nAccess-Control-Request-Method: POST\r\n";
    for request in [
        with_token("/api/v1/status"),
        with_token("/"),
        with_token("/nothing"),
        request("GET", "/api/v1/status", "Host: 127.0.0.1\r\n"),
        request("GET", "/", "Host: evil.example\r\n"),
        request("OPTIONS", "/api/v1/commands", preflight),
    ] {
        let answer = stage.tcp(&request).await;
        let always = (answer.field("Cache-Control"), answer.field("X-Content-Type-Options"));
        assert_eq!(always, (Some("no-store"), Some("nosniff")), "{request}");
        assert!(answer.field("Access-Control-Allow-Origin").is_none(), "{request}");
    }
}

#[tokio::test]
async fn over_tcp_a_token_opens_all_but_the_page_and_the_document() {
    let stage = Stage::begin();
    for route in &ROUTES {
        let is_open = matches!(route.path, "/" | "/api/v1/openapi.json");
        let answer = stage.tcp(&request("GET", route.path, "Host: 127.0.0.1\r\n")).await;
        assert_eq!(answer.status, if is_open { 200 } else { 401 }, "{}", route.path);
    }
    let with = |field: &str| request("GET", "/api/v1/status", &format!("Host: 127.0.0.1\r\n{field}"));
    let half = &TOKEN[1..];
    for (field, status) in [
        (format!("Authorization: Bearer {TOKEN}\r\n"), 200),
        (format!("authorization: bearer {TOKEN}\r\n"), 200),
        (format!("Authorization: Bearer {half}\r\n"), 401),
        (format!("Authorization: Bearer {TOKEN}0\r\n"), 401),
        (format!("Authorization: Basic {TOKEN}\r\n"), 401),
        (format!("Authorization: {TOKEN}\r\n"), 401),
        (format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer x\r\n"), 401),
        ("Authorization: Bearer\r\n".to_owned(), 401),
    ] {
        let answer = stage.tcp(&with(&field)).await;
        assert_eq!(answer.status, status, "{field}");
        if status == 401 {
            assert_eq!(answer.reason(), "unauthorized");
            assert!(answer.field("WWW-Authenticate").is_some_and(|value| value.starts_with("Bearer")));
        }
    }
}

#[tokio::test]
async fn other_hosts_and_other_sites_pages_are_kept_out_even_with_the_token() {
    let stage = Stage::begin();
    let port = stage.address.port();
    for (fields, status) in [
        (format!("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"), 200),
        ("Host: admin.example.com\r\n".to_owned(), 200),
        ("Host: evil.example\r\n".to_owned(), 403),
        (format!("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"), 403),
        (format!("Host: 127.0.0.1:{port}\r\nOrigin: null\r\n"), 403),
    ] {
        for path in ["/", "/api/v1/openapi.json", "/api/v1/status"] {
            let fields = format!("{fields}Authorization: Bearer {TOKEN}\r\n");
            let answer = stage.tcp(&request("GET", path, &fields)).await;
            assert_eq!(answer.status, status, "{path} {fields}");
            if status == 403 {
                assert_eq!(answer.reason(), "forbidden");
            }
        }
    }
    for (fields, status) in [
        ("Host: anything\r\n", 200),
        ("Host: localhost:1\r\nOrigin: http://localhost:1\r\n", 200),
        ("Host: evil.example\r\nOrigin: http://evil.example\r\n", 403),
        ("Host: localhost\r\nOrigin: http://evil.example\r\n", 403),
    ] {
        let answer = stage.unix(&request("GET", "/api/v1/status", fields)).await;
        assert_eq!(answer.status, status, "the socket, forwarded to a port: {fields}");
    }
}

#[tokio::test]
async fn who_guesses_has_to_wait_but_never_who_has_the_right_token() {
    let stage = Stage::begin();
    let wrong = request("GET", "/api/v1/status", "Host: 127.0.0.1\r\nAuthorization: Bearer guess\r\n");
    let mut refused = 0;
    let last = loop {
        let answer = stage.tcp(&wrong).await;
        if answer.status != 401 {
            break answer;
        }
        refused += 1;
        assert!(refused < 100, "nobody stops the guessing");
    };
    // One more for each second that this took.
    assert!(refused >= 10, "{refused}");
    assert_eq!((last.status, &*last.reason()), (429, "rate_limited"));
    assert!(last.field("Retry-After").is_some_and(|wait| wait.parse::<u64>().unwrap() >= 1), "{last:?}");
    let right = stage.tcp(&with_token("/api/v1/status")).await;
    assert_eq!(right.status, 200, "the same address, by a tunnel or a proxy, isn't the same person");
    assert_eq!(stage.tcp(&wrong).await.status, 429, "and the right one forgives nobody");
    let empty = request("GET", "/api/v1/status", "Host: 127.0.0.1\r\nAuthorization: Bearer \r\n");
    assert_eq!(stage.tcp(&empty).await.status, 401, "who sends none guesses nothing");
    assert_eq!(stage.tcp(&request("GET", "/", "Host: 127.0.0.1\r\n")).await.status, 200);
    let unix = stage.unix(&request("GET", "/api/v1/status", "Host: localhost\r\n")).await;
    assert_eq!(unix.status, 200, "the socket isn't shut with it");
}

#[tokio::test]
async fn who_has_no_key_keeps_no_connection() {
    let stage = Stage::begin();
    let open = |path: &str, fields: &str| {
        request("GET", path, &format!("Host: 127.0.0.1\r\n{fields}")).replace("Connection: close\r\n", "")
    };
    for (request, status) in [
        (open("/", ""), 200),
        (open("/api/v1/openapi.json", ""), 200),
        (open("/api/v1/status", ""), 401),
        (open("/api/v1/status", "Authorization: Bearer guess\r\n"), 401),
        (open("/", "Origin: http://evil.example\r\n"), 403),
    ] {
        let answer = stage.tcp(&request).await;
        assert_eq!((answer.status, answer.field("Connection")), (status, Some("close")), "{request}");
    }
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    let keyed = open("/api/v1/status", &format!("Authorization: Bearer {TOKEN}\r\n"));
    socket.write_all(keyed.as_bytes()).await.unwrap();
    assert_eq!(ask(socket, &with_token("/api/v1/status")).await.body.matches("HTTP/1.1 200").count(), 1);
}

/// Somebody who knows no token must not be able to stand in the door.
#[tokio::test]
async fn a_hundred_who_show_no_key_keep_nobody_out_who_has_it() {
    let stage = Stage::begin();
    let socket = TcpStream::connect(stage.address).await.unwrap();
    let mut events = Events::of(socket, "", "").await;
    let crowd: Vec<_> = (0..100).map(|_| tokio::spawn(stand_in_the_door(stage.address))).collect();
    for _ in 0..20 {
        let asks = async { stage.tcp(&with_token("/api/v1/status")).await };
        let answer = timeout(Duration::from_secs(1), asks).await.expect("at once");
        assert_eq!(answer.status, 200);
    }
    stage.publish(4);
    assert_eq!(events.next_of("revision").await.0, Some(4), "who has shown a key keeps the place");
    assert!(!crowd.iter().any(tokio::task::JoinHandle::is_finished));
}

async fn stand_in_the_door(address: SocketAddr) {
    loop {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // Until they are sent away; then they come back.
        let _ = socket.read(&mut [0]).await;
    }
}

#[tokio::test]
async fn the_page_runs_nothing_but_what_is_in_it() {
    let answer = Stage::begin().tcp(&request("GET", "/", "Host: 127.0.0.1\r\n")).await;
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    let policy = answer.field("Content-Security-Policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(answer.body.contains("</html>"));
}

#[tokio::test]
async fn the_document_names_every_path_status_and_reason() {
    let stage = Stage::begin();
    let served = stage.tcp(&request("GET", "/api/v1/openapi.json", "Host: 127.0.0.1\r\n")).await;
    assert_eq!(served.body, document());
    let document = served.json();
    let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut routes: Vec<&str> = ROUTES.iter().map(|route| route.path).filter(|path| *path != "/").collect();
    routes.sort_unstable();
    assert_eq!(paths, routes);
    for reason in REASONS {
        let word = serde_json::to_value(reason).unwrap();
        let listed = document["components"]["schemas"]["RefusedReason"].to_string();
        assert!(listed.contains(&word.to_string()), "{word}: {listed}");
    }
    let of = |path: &str, method: &str| -> Vec<String> {
        document["paths"][path][method]["responses"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(of("/api/v1/status", "get"), ["200", "401", "403", "405", "429"]);
    assert_eq!(
        of("/api/v1/commands", "post"),
        ["200", "400", "401", "403", "405", "409", "413", "415", "422", "429", "503"]
    );
    assert_eq!(document["paths"]["/api/v1/commands"]["post"]["security"], Value::Null, "the document's own");
    assert_eq!(document["security"], json!([{ "token": [] }]));
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for schema in ["Record", "Sample", "Status", "Refused", "CommandBody", "Mode"] {
        assert!(document["components"]["schemas"][schema].is_object(), "{schema}");
    }
}

/// Every reason: the match misses what isn't here.
const REASONS: [RefusedReason; 13] = [
    RefusedReason::UnknownRoute,
    RefusedReason::UnknownBackend,
    RefusedReason::Invalid,
    RefusedReason::StaleRevision,
    RefusedReason::Configuration,
    RefusedReason::Malformed,
    RefusedReason::Unauthorized,
    RefusedReason::Forbidden,
    RefusedReason::RateLimited,
    RefusedReason::NotFound,
    RefusedReason::MethodNotAllowed,
    RefusedReason::Unsupported,
    RefusedReason::Ending,
];
