//! What works, but should be known.

use super::{backend, env, server, top};
use crate::config::load;

/// Text, and the line and begin of the message of each warning.
fn check(text: &str, wanted: &[(usize, &str)]) {
    let loaded = load(text, &env).unwrap_or_else(|p| panic!("{}", p.render("x.toml", text, false)));
    let found: Vec<_> = loaded.warnings.iter().map(|w| (w.line, w.message.as_str())).collect();
    assert_eq!(found.len(), wanted.len(), "{text}\n{found:?}");
    for ((line, message), (wanted_line, begin)) in found.iter().zip(wanted) {
        assert!(line == wanted_line && message.starts_with(begin), "{text}\n{found:?}");
    }
}

#[test]
fn keys_of_an_admin_api_that_nobody_serves_are_said() {
    check(&server("admin_token_file = \"/t\""), &[(3, "`admin_token_file` is without effect")]);
    check(&server("admin_hosts = [\"a.internal\"]"), &[(3, "`admin_hosts` is without effect")]);
    check(
        &server("admin = \"127.0.0.1:9901\"\nadmin_token_file = \"/t\"\nadmin_hosts = \"a.internal\""),
        &[],
    );
}

#[test]
fn words_on_probes_that_nobody_sends_are_said() {
    let health = |keys: &str| backend(&format!("[backends.a.health]\n{keys}"));
    check(&health("interval = \"1s\""), &[(4, "`interval` is without effect: no `path`")]);
    check(&health("path = \"/up\"\ninterval = \"1s\"\nstatus = [200, \"3xx\"]"), &[]);
    check(&health("eject_after = 0"), &[]);
}

#[test]
fn certificates_that_nobody_sees_are_said() {
    let lines = "[tls]\ncertificates = [{ cert = \"c.pem\", key = \"k.pem\" }]\n";
    check(&top(lines), &[(2, "`certificates` are without effect")]);
}

#[test]
fn proofs_that_no_authority_could_see_are_said() {
    let acme = "[state]\ndir = \"/s\"\n[acme]\ndomains = \"a.example\"\nagree_to_terms = true\n";
    let alpn = format!("{acme}challenge = \"tls-alpn-01\"\n");
    let listening = |text: &str, key| top(text).replace("http = ", key);
    check(&top(&alpn), &[(3, "tls-alpn-01 is asked for by TLS")]);
    check(&listening(&alpn, "https = "), &[]);
    check(&listening(acme, "https = "), &[(3, "http-01 is asked for in the clear")]);
    let required = format!("{alpn}[tls]\nclient_ca_file = \"/ca.pem\"\n");
    check(&listening(&required, "https = "), &[(3, "tls-alpn-01 is asked for without a client's")]);
}

#[test]
fn believing_anybody_or_nobody_is_said() {
    check(&top("[forwarded]\nx_for = 1"), &[(1, "any peer is believed")]);
    check(&top("[forwarded]\nx_for = 1\ntrusted = []"), &[(3, "no peer is believed")]);
    check(&top("[forwarded]\ntrusted = [\"10.0.0.0/8\"]"), &[(2, "`trusted` is without effect")]);
    check(&top("[forwarded]\nx_for = 1\ntrusted = \"10.0.0.0/8\""), &[]);
    let introduced = server("proxy_protocol = true") + "[forwarded]\ntrusted = [\"10.0.0.0/8\"]\n";
    check(&introduced, &[]);
}

#[test]
fn backends_that_hardly_work_as_meant_are_said() {
    check(&top("[backends.b]\nurl = \"https://b.example\""), &[(1, "no route uses the backend `b`")]);
    check(&backend("platform = \"heroku\"\nhost = \"preserve\""), &[(4, "Heroku routes by `Host`")]);
    check(&backend("platform = \"fly\"\nhost = \"preserve\""), &[(4, "Fly.io routes by `Host`")]);
    check(&backend("platform = \"alb\"\npool_idle_timeout = \"60s\""), &[(4, "the platform itself closes")]);
    check(&backend("host = \"backend1\""), &[(3, "`backend1` is sent as the host's name")]);
    check(&backend("host = \"back-end\""), &[(3, "`back-end` is sent as the host's name")]);
    check(&backend("host = \"app-backend\""), &[]);
    let in_clear = |lines: &str| backend(lines).replace("https://a.example", "http://a.example");
    check(&in_clear("platform = \"fly\""), &[(2, "over http the app behind Fly.io")]);
    check(&in_clear("ca_file = \"/x.pem\""), &[(3, "`ca_file` is without effect")]);
    check(&in_clear("").replace("a.example", "127.0.0.1"), &[]);
    check(&in_clear("http2 = \"auto\""), &[(3, "without TLS nothing is chosen")]);
    check(&in_clear("http2 = \"always\""), &[]);
    check(&backend("http2 = \"auto\""), &[]);
}
