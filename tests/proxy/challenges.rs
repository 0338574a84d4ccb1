//! Proofs that certificate authorities ask for reach the backend that has them, whatever the weights say.

use crate::kit::backend::Refusing;
use crate::kit::{Backend, Config, Message, Proxy, ok};

const TOKEN: &str = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
const UNKNOWN: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nunknown";

/// A backend that has the proof, or one that knows nothing of it; both answer anything else with `app`.
fn backend(proof: Option<&'static str>) -> Backend {
    Backend::by(move |request| match proof {
        Some(proof) if request.target() == TOKEN => ok(proof),
        None if request.target() == TOKEN => UNKNOWN.to_owned(),
        _ => ok("app"),
    })
}

/// Everything goes to `old`, which is stable; `new` and `other` get nothing by weights.
fn proxy(old: &str, new: &str, other: &str) -> Proxy {
    let config = Config::new()
        .backend("old", old, "connect_timeout = \"1s\"\nfirst_byte_timeout = \"300ms\"")
        .backend("new", new, "first_byte_timeout = \"300ms\"")
        .backend("other", other, "first_byte_timeout = \"300ms\"");
    Proxy::start(
        &config.route("stable = \"old\"\nweights = { old = 100, new = 0, other = 0 }\nsticky = \"cookie\""),
    )
}

fn heads(backend: &Backend) -> Vec<String> {
    backend.seen().iter().map(|request| request.line().to_owned()).collect()
}

#[test]
fn stable_is_asked_first_and_nobody_else_where_it_has_the_proof() {
    let backends = [backend(Some("stable's")), backend(Some("new's")), backend(None)];
    let proxy = proxy(&backends[0].url(), &backends[1].url(), &backends[2].url());
    let response = proxy.get(TOKEN);
    assert_eq!((response.status(), response.text().as_str()), (200, "stable's"));
    // Who proves a name isn't a visitor who comes back.
    assert_eq!(response.field("set-cookie"), None);
    assert_eq!((backends[1].seen().len(), backends[2].seen().len()), (0, 0));
    let record = proxy.only_record();
    assert_eq!((&record["backend"], &record["chosen_by"]), (&"old".into(), &"challenge".into()));
}

#[test]
fn the_others_are_asked_until_one_has_the_proof() {
    let backends = [backend(None), backend(Some("new's")), backend(None)];
    let proxy = proxy(&backends[0].url(), &backends[1].url(), &backends[2].url());
    let response = proxy.get(TOKEN);
    assert_eq!((response.status(), response.text().as_str()), (200, "new's"));
    assert_eq!(heads(&backends[0]), [format!("GET {TOKEN} HTTP/1.1")]);
    let record = proxy.only_record();
    assert_eq!((&record["backend"], &record["status"]), (&"new".into(), &200.into()));
    proxy.wait_for_metric("crossfade_requests_total", &[("backend", "new"), ("code", "200")], 1.0);
    let routed = proxy.metric("crossfade_requests_total", &[("route", "web")]);
    assert_eq!(routed as u64, 1, "one request, however many were asked");
    proxy.wait_for_metric("crossfade_requests_in_flight", &[], 0.0);
}

#[test]
fn backends_that_fail_are_passed_over_and_counted() {
    let (refusing, silent) = (Refusing::new(), Backend::start(|mut peer| peer.hang()));
    let has_it = backend(Some("other's"));
    let proxy = proxy(&refusing.url(), &silent.url(), &has_it.url());
    assert_eq!(proxy.get(TOKEN).text(), "other's");
    for (backend, reason) in [("old", "connect_refused"), ("new", "first_byte_timeout")] {
        let labels = [("backend", backend), ("reason", reason)];
        assert_eq!(proxy.metric("crossfade_backend_failures_total", &labels) as u64, 1, "{backend}");
    }
    let record = proxy.only_record();
    assert_eq!((&record["backend"], &record["reason"]), (&"other".into(), &serde_json::Value::Null));
}

#[test]
fn the_last_404_is_passed_on_where_nobody_has_the_proof() {
    let (unknown, refusing) = (backend(None), Refusing::new());
    let proxy = proxy(&unknown.url(), &refusing.url(), &unknown.url());
    let response = proxy.get(TOKEN);
    assert_eq!((response.status(), response.text().as_str(), response.reason()), (404, "unknown", None));
    assert_eq!(unknown.seen().len(), 2);
}

#[test]
fn where_nobody_answers_it_is_the_last_ones_failure_counted_once_each() {
    let refusing = [Refusing::new(), Refusing::new(), Refusing::new()];
    let proxy = proxy(&refusing[0].url(), &refusing[1].url(), &refusing[2].url());
    let response = proxy.get(TOKEN);
    assert_eq!((response.status(), response.reason()), (502, Some("connect_refused")));
    assert_eq!(proxy.metric("crossfade_backend_failures_total", &[]) as u64, 3);
}

#[test]
fn what_is_no_question_for_a_proof_is_split_as_ever() {
    let backends = [backend(None), backend(Some("new's")), backend(None)];
    let proxy = proxy(&backends[0].url(), &backends[1].url(), &backends[2].url());
    let ask = |head: &str| -> Message {
        let mut visitor = proxy.visit();
        visitor.send(head);
        visitor.response()
    };
    let body = format!("POST {TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx");
    let with_body = format!("GET {TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx");
    for head in [body, with_body] {
        assert_eq!(ask(&head).status(), 404, "{head}");
    }
    for path in ["", "/", "/a/b", "/a.b", "/../../admin", "/%2e%2e%2fadmin"] {
        assert_eq!(proxy.get(&format!("/.well-known/acme-challenge{path}")).text(), "app", "{path}");
    }
    assert_eq!((backends[1].seen().len(), backends[2].seen().len()), (0, 0));
}
