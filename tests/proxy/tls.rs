//! Visitors by TLS: which certificate they get, what their requests become, and what a change of files does.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::kit::certificates::Authority;
use crate::kit::proxy::program;
use crate::kit::{Backend, Config, Proxy, ok, wait_until};

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// A proxy with certificates for `a.example` and for `*.shop.example`, each in files of that stem.
struct Scene {
    authority: Authority,
    files: TempDir,
    backend: Backend,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            authority: Authority::new(),
            files: tempfile::tempdir().unwrap(),
            backend: Backend::answering(ok("hello")),
        };
        scene.issue(&["a.example"], "a");
        scene.issue(&["*.shop.example"], "any");
        scene
    }

    fn issue(&self, names: &[&str], stem: &str) -> Vec<u8> {
        self.authority.issue(names, self.files.path(), stem)
    }

    fn config(&self, keys: &str) -> Config {
        Config::of(&self.backend)
            .server("https = \"127.0.0.1:0\"")
            .section(&tls_section(self.files.path(), keys))
    }

    fn start(&self, keys: &str) -> Proxy {
        Proxy::start(&self.config(keys))
    }

    fn client(&self) -> Arc<ClientConfig> {
        self.authority.client(&BOTH)
    }
}

fn tls_section(files: &Path, keys: &str) -> String {
    let pair = |stem: &str| {
        let file = |name: String| files.join(name).display().to_string();
        format!(
            "{{ cert = \"{}\", key = \"{}\" }}",
            file(format!("{stem}.pem")),
            file(format!("{stem}-key.pem"))
        )
    };
    format!("[tls]\ncertificates = [{}, {}]\n{keys}", pair("a"), pair("any"))
}

/// The certificate that a new visitor gets for `name`.
fn shown(proxy: &Proxy, client: &Arc<ClientConfig>, name: &str) -> Option<Vec<u8>> {
    let (_, handshake) = proxy.visit_tls(client, name).ok()?;
    handshake.certificate
}

#[test]
fn each_name_gets_its_certificate() {
    let scene = Scene::new();
    let (exact, any) = (scene.issue(&["a.example"], "a"), scene.issue(&["*.shop.example"], "any"));
    let proxy = scene.start("");
    let client = scene.client();
    assert_eq!(shown(&proxy, &client, "a.example"), Some(exact));
    assert_eq!(shown(&proxy, &client, "b.shop.example"), Some(any));
    for name in ["a.example", "*.shop.example"] {
        assert!(proxy.has_series("crossfade_certificate_expiry_timestamp_seconds", &[("name", name)]));
    }
    assert_eq!(
        shown(&proxy, &client, "b.b.shop.example"),
        None,
        "the default isn't for this name, says the visitor"
    );
    let strict = scene.start("unknown_name = \"refuse\"");
    assert_eq!(shown(&strict, &client, "other.org"), None);
    strict.wait_for_metric("crossfade_refused_connections_total", &[("reason", "tls_failed")], 1.0);
}

#[test]
fn a_request_over_tls_is_one_of_https_to_everybody() {
    let scene = Scene::new();
    let proxy = Proxy::start(&scene.config("hsts = \"24h\"").route("stable = \"only\"\nsticky = \"cookie\""));
    let (mut visitor, _) = proxy.visit_tls(&scene.client(), "a.example").unwrap();
    let response = visitor.get("/x");
    assert_eq!(response.text(), "hello");
    assert_eq!(response.field("strict-transport-security"), Some("max-age=86400"));
    assert!(response.field("set-cookie").is_some_and(|cookie| cookie.contains("Secure")));
    let request = scene.backend.next();
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    assert_eq!(request.field("x-forwarded-port"), Some("443"));
    // In the clear it is another matter.
    assert_eq!(proxy.get("/x").field("strict-transport-security"), None);
    assert_eq!(scene.backend.next().field("x-forwarded-proto"), Some("http"));
}

#[test]
fn visitors_in_the_clear_are_sent_to_https_where_that_is_asked_for() {
    let scene = Scene::new();
    for (key, port) in [("true", ""), ("8443", ":8443")] {
        let proxy = scene.start(&format!("redirect_http = {key}"));
        let mut visitor = proxy.visit();
        visitor.send("GET /x?y=1 HTTP/1.1\r\nHost: a.example:8080\r\n\r\n");
        let response = visitor.response();
        let location = format!("https://a.example{port}/x?y=1");
        assert_eq!((response.status(), response.field("location")), (308, Some(location.as_str())));
        visitor.send("GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(visitor.response().text(), "hello", "a proof is asked for in the clear");
        let (mut visitor, _) = proxy.visit_tls(&scene.client(), "a.example").unwrap();
        assert_eq!(visitor.get("/x").text(), "hello");
        assert_eq!(proxy.metric("crossfade_rejected_requests_total", &[]) as u64, 0, "it is no fault");
    }
}

#[test]
fn a_renewed_certificate_is_served_without_touching_a_connection() {
    let scene = Scene::new();
    let proxy = scene.start("");
    let (mut before, first) = proxy.visit_tls(&scene.client(), "a.example").unwrap();
    assert_eq!(before.get("/").text(), "hello");
    let renewed = scene.issue(&["a.example"], "a");
    assert_ne!(first.certificate.as_ref(), Some(&renewed));
    wait_until("the new one is served", || {
        shown(&proxy, &scene.client(), "a.example").as_ref() == Some(&renewed)
    });
    assert_eq!(before.get("/").text(), "hello", "who came before stays");
    assert!(proxy.wait_for_event("config.applied").contains("certificates"));
}

#[test]
fn a_pair_that_cannot_be_served_is_refused_by_name_and_the_last_good_one_serves_on() {
    let scene = Scene::new();
    let good = scene.issue(&["a.example"], "a");
    let proxy = scene.start("");
    let key = scene.files.path().join("a-key.pem");
    let key_before = std::fs::read(&key).unwrap();
    std::fs::copy(scene.files.path().join("any-key.pem"), &key).unwrap();
    let event = proxy.wait_for_event("config.refused");
    assert!(event.contains("a-key.pem isn't that of the certificate in"), "{event}");
    assert!(proxy.told_at("/readyz").1.contains("a-key.pem"));
    assert_eq!(shown(&proxy, &scene.client(), "a.example"), Some(good));
    std::fs::write(&key, key_before).unwrap();
    wait_until("it is well again", || !proxy.told_at("/readyz").1.contains("refused"));
}

#[test]
fn an_expired_certificate_keeps_a_configuration_from_being_used() {
    let scene = Scene::new();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2020, 1, 1);
    scene.authority.issue_by(&params, scene.files.path(), "a");
    let path = scene.files.path().join("crossfade.toml");
    std::fs::write(&path, scene.config("").text()).unwrap();
    for verb in ["check", "run"] {
        let output = program().arg(verb).arg("--config").arg(&path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("a.pem, for a.example, has expired"), "{said}");
        assert_eq!(said.contains("| certificates = ["), verb == "check", "check shows the line: {said}");
    }
}

#[test]
fn sessions_are_resumed_also_after_a_reload() {
    let scene = Scene::new();
    let proxy = scene.start("");
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let client = scene.authority.client(versions);
        let (mut visitor, first) = proxy.visit_tls(&client, "a.example").unwrap();
        assert_eq!(visitor.get("/").text(), "hello");
        drop(visitor);
        proxy.signal("HUP");
        proxy.wait_for_event("config.applied");
        let (mut visitor, second) = proxy.visit_tls(&client, "a.example").unwrap();
        assert_eq!(visitor.get("/").text(), "hello");
        assert_eq!((first.resumed, second.resumed), (false, true));
    }
}

#[test]
fn the_oldest_version_is_as_configured() {
    let scene = Scene::new();
    let old = scene.authority.client(&[&TLS12]);
    assert!(scene.start("").visit_tls(&old, "a.example").is_ok());
    assert!(scene.start("min_version = \"1.3\"").visit_tls(&old, "a.example").is_err());
}

#[test]
fn visitors_show_certificates_where_they_have_to() {
    let scene = Scene::new();
    scene.issue(&["client.example"], "client");
    let authority = scene.authority.write(scene.files.path());
    let without = scene.authority.client(&BOTH);
    let with = scene.authority.client_showing(scene.files.path(), "client");
    let stranger = Authority::new();
    let (files, wrong) = (tempfile::tempdir().unwrap(), "stranger");
    stranger.issue(&["x.example"], files.path(), wrong);
    let wrong = scene.authority.client_showing(files.path(), wrong);
    for (keys, served) in
        [("", [false, true, false]), ("client_certificates = \"optional\"", [true, true, false])]
    {
        let proxy = scene.start(&format!("client_ca_file = \"{}\"\n{keys}", authority.display()));
        for (client, served) in [&without, &with, &wrong].into_iter().zip(served) {
            // With TLS 1.3 the visitor hears of a refusal after its own part of the handshake.
            let visit = proxy.visit_tls(client, "a.example").and_then(|(mut visitor, _)| {
                visitor.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                visitor.try_rest()
            });
            assert_eq!(visit.is_ok_and(|answer| answer.contains("hello")), served, "{keys}");
        }
    }
}

#[test]
fn what_is_no_tls_is_turned_away_and_counted() {
    let scene = Scene::new();
    let proxy = scene.start("");
    let mut visitor = crate::kit::Visitor::connect(proxy.https.unwrap());
    visitor.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _ = visitor.try_rest();
    proxy.wait_for_metric("crossfade_refused_connections_total", &[("reason", "tls_failed")], 1.0);
    assert!(proxy.visit_tls(&scene.client(), "a.example").is_ok());
}
