//! The rules of [`Origin::resolve`](super::Origin::resolve): Werkzeug's own cases first, then ours.

use std::net::Ipv4Addr;

use http::header::HOST;
use proptest::prelude::*;

use super::*;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const XHOST: &str = "x-forwarded-host";
const PORT: &str = "x-forwarded-port";
const PREFIX: &str = "x-forwarded-prefix";

/// ProxyFix's default arguments.
const DEFAULTS: Hops = Hops { x_for: 1, x_proto: 1, x_host: 0, x_port: 0, x_prefix: 0 };
const ALL: Hops = Hops { x_for: 1, x_proto: 1, x_host: 1, x_port: 1, x_prefix: 1 };
const NONE: Hops = Hops { x_for: 0, x_proto: 0, x_host: 0, x_port: 0, x_prefix: 0 };

type Fields = [(&'static str, &'static str)];

fn map(fields: &Fields) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    fields.iter().map(field).collect()
}

fn from_peer(trust: &Trust, peer: &str, host: &'static str, fields: &Fields) -> Origin {
    let peer = Peer { address: peer.parse().unwrap(), scheme: Scheme::Http };
    Origin::resolve(trust, &peer, &HeaderValue::from_static(host), &map(fields))
}

/// A request in the clear from 192.168.0.2 for `spam`.
fn resolve(hops: Hops, fields: &Fields) -> Origin {
    from_peer(&Trust { hops, trusted: None }, "192.168.0.2", "spam", fields)
}

/// What Werkzeug calls `url_root`.
fn url_root(origin: &Origin) -> String {
    let prefix = origin.prefix.as_ref().map_or("", |prefix| prefix.to_str().unwrap());
    format!("{}://{}{prefix}/", origin.scheme.as_str(), origin.host.to_str().unwrap())
}

/// tests/middleware/test_proxy_fix.py of Werkzeug: name, arguments, peer, Host, fields, address, url_root. In
/// "port, name" the host is the server's own name in Werkzeug; a proxy has none, so there it is the Host.
#[test]
fn the_cases_of_proxy_fix() {
    const ONE: &str = "192.168.0.1";
    const TWO: &str = "192.168.0.2";
    const THREE: &str = "192.168.0.3";
    let (x_for, x_proto, x_host, x_port, x_prefix) = (1, 1, 1, 1, 1);
    let only = |hops: Hops| Hops { x_for: 0, x_proto: 0, ..hops };
    type Case = (&'static str, Hops, &'static str, &'static str, &'static Fields, &'static str);
    #[rustfmt::skip]
    let table: [Case; 17] = [
        ("for", DEFAULTS, TWO, "spam", &[(FOR, "192.168.0.1"), (PROTO, "https")], "https://spam/"),
        ("proto", Hops { x_proto, ..DEFAULTS }, ONE, "spam", &[(PROTO, "https")], "https://spam/"),
        ("host", only(Hops { x_host, ..NONE }), ONE, "spam", &[(XHOST, "eggs")], "http://eggs/"),
        ("port, host without port", only(Hops { x_port, ..NONE }), ONE, "spam",
            &[(PORT, "8080")], "http://spam:8080/"),
        ("port, host with port", only(Hops { x_port, ..NONE }), ONE, "spam:9000",
            &[(PORT, "8080")], "http://spam:8080/"),
        ("port, name", only(Hops { x_port, ..NONE }), ONE, "spam:9000", &[(PORT, "8080")], "http://spam:8080/"),
        ("prefix", only(Hops { x_prefix, ..NONE }), ONE, "spam", &[(PREFIX, "/eggs")], "http://spam/eggs/"),
        ("all", Hops { x_for, x_proto, x_host, x_port, x_prefix }, TWO, "spam:9000",
            &[(FOR, "192.168.0.1"), (PROTO, "https"), (XHOST, "eggs"), (PORT, "443"), (PREFIX, "/ham")],
            "https://eggs/ham/"),
        ("multiple for", Hops { x_for: 2, ..DEFAULTS }, THREE, "spam",
            &[(FOR, "192.168.0.1, 192.168.0.2")], "http://spam/"),
        ("ignore 0", Hops { x_for: 0, ..DEFAULTS }, ONE, "spam", &[(FOR, "192.168.0.2")], "http://spam/"),
        ("ignore len < trusted", Hops { x_for: 3, ..DEFAULTS }, ONE, "spam",
            &[(FOR, "192.168.0.3, 192.168.0.2")], "http://spam/"),
        ("ignore untrusted", DEFAULTS, TWO, "spam", &[(FOR, "192.168.0.3, 192.168.0.1")], "http://spam/"),
        ("ignore empty", Hops { x_for: 2, ..DEFAULTS }, ONE, "spam", &[(FOR, ", 192.168.0.3")], "http://spam/"),
        ("prefix < for", Hops { x_for: 2, x_prefix, ..DEFAULTS }, TWO, "spam",
            &[(FOR, "192.168.0.1, 192.168.0.3"), (PREFIX, "/ham, /eggs")], "http://spam/eggs/"),
        ("ipv6 host", Hops { x_host, ..DEFAULTS }, ONE, "spam", &[(XHOST, "[2001:db8::a]")], "http://[2001:db8::a]/"),
        ("ipv6 port, host without port", Hops { x_port, ..DEFAULTS }, ONE, "[2001:db8::a]",
            &[(PORT, "8080")], "http://[2001:db8::a]:8080/"),
        ("ipv6 - port, host with port", Hops { x_port, ..DEFAULTS }, ONE, "[2001:db8::a]:9000",
            &[(PORT, "8080")], "http://[2001:db8::a]:8080/"),
    ];
    for (name, hops, peer, host, fields, expected) in table {
        let origin = from_peer(&Trust { hops, trusted: None }, peer, host, fields);
        assert_eq!(url_root(&origin), expected, "{name}");
        assert_eq!(origin.client, IpAddr::from([192, 168, 0, 1]), "{name}");
    }
}

#[test]
fn clients_are_addresses_or_ignored() {
    let peer = "192.168.0.2";
    let table: &[(&'static str, u8, &str)] = &[
        ("10.0.0.1", 1, "10.0.0.1"),
        ("10.0.0.1:5678", 1, "10.0.0.1"),
        ("2001:db8::a", 1, "2001:db8::a"),
        ("[2001:db8::a]", 1, "2001:db8::a"),
        ("[2001:db8::a]:5678", 1, "2001:db8::a"),
        ("\"[2001:db8::a]:5678\"", 1, "2001:db8::a"),
        ("::ffff:10.0.0.1", 1, "10.0.0.1"),
        ("\"10.0.0.1\"", 1, "10.0.0.1"),
        ("10.0.0.1, , 10.0.0.2", 2, "10.0.0.1"),
        ("10.0.0.1, ", 1, "10.0.0.1"),
        ("10.0.0.1,\t10.0.0.2", 1, "10.0.0.2"),
        ("\"10.0.0.9, 10.0.0.1\"", 1, peer),
        ("10.0.0.1, \"10.0.0.2", 1, peer),
        ("10.0.0.1, \"\"", 1, peer),
        ("\"\", 10.0.0.1", 1, "10.0.0.1"),
        ("", 1, peer),
        (",,", 1, peer),
        ("unknown", 1, peer),
        ("10.0.0.1, unknown", 1, peer),
        ("unknown, 10.0.0.1", 1, "10.0.0.1"),
        ("10.0.0.256", 1, peer),
        ("010.0.0.1", 1, peer),
        ("10.0.0.1:", 1, peer),
        ("10.0.0.1:70000", 1, peer),
        ("fe80::1%eth0", 1, peer),
        ("10.0.0.1 10.0.0.2", 1, peer),
        ("for=10.0.0.1", 1, peer),
        ("\u{e9}", 1, peer),
        ("10.0.0.1", 255, peer),
    ];
    for (value, x_for, expected) in table {
        let origin = resolve(Hops { x_for: *x_for, ..NONE }, &[(FOR, value)]);
        assert_eq!(origin.client.to_string(), *expected, "{value:?}");
    }
}

#[test]
fn schemes_are_http_or_https_or_ignored() {
    let table = [
        ("https", Scheme::Https),
        ("HTTPS", Scheme::Https),
        ("wss", Scheme::Https),
        ("Ws", Scheme::Http),
        ("http, https", Scheme::Https),
        ("https, http", Scheme::Http),
        ("\"https\"", Scheme::Https),
        ("ftp", Scheme::Http),
        ("https;", Scheme::Http),
        ("https://", Scheme::Http),
    ];
    for (value, expected) in table {
        assert_eq!(resolve(DEFAULTS, &[(PROTO, value)]).scheme, expected, "{value:?}");
    }
}

#[test]
fn hosts_and_ports_are_sane_or_ignored() {
    let table: &[(&Fields, &str, u16)] = &[
        (&[(XHOST, "eggs:8080")], "http://eggs:8080/", 8080),
        (&[(XHOST, "eggs:80")], "http://eggs/", 80),
        (&[(XHOST, "eggs:443")], "http://eggs:443/", 443),
        (&[(XHOST, "eggs:443"), (PROTO, "https")], "https://eggs/", 443),
        (&[(XHOST, "eggs:80"), (PROTO, "https")], "https://eggs:80/", 80),
        (&[(XHOST, "eggs:8080"), (PORT, "80")], "http://eggs/", 80),
        (&[(XHOST, "[2001:db8::a]:80")], "http://[2001:db8::a]/", 80),
        (&[(XHOST, "ham, Eggs")], "http://Eggs/", 80),
        (&[(XHOST, "\"ham,eggs\"")], "http://spam/", 80),
        (&[(XHOST, "2001:db8::a")], "http://spam/", 80),
        (&[(XHOST, "eggs/ham")], "http://spam/", 80),
        (&[(XHOST, "user@eggs")], "http://spam/", 80),
        (&[(XHOST, "eggs:65536")], "http://spam/", 80),
        (&[(PORT, "443")], "http://spam:443/", 443),
        (&[(PORT, "443"), (PROTO, "https")], "https://spam/", 443),
        (&[(PORT, "1, 8080")], "http://spam:8080/", 8080),
        (&[(PORT, "0")], "http://spam/", 80),
        (&[(PORT, "65536")], "http://spam/", 80),
        (&[(PORT, "+80")], "http://spam/", 80),
        (&[(PORT, "http")], "http://spam/", 80),
        (&[(PROTO, "https")], "https://spam/", 443),
    ];
    for (fields, root, port) in table {
        let origin = resolve(ALL, fields);
        assert_eq!((url_root(&origin).as_str(), origin.port), (*root, *port), "{fields:?}");
    }
}

#[test]
fn prefixes_are_paths_or_ignored() {
    let long: &'static str = Box::leak(format!("/{}", "a".repeat(PREFIX_SIZE)).into_boxed_str());
    let table = [
        ("/eggs", Some("/eggs")),
        ("/eggs/ham", Some("/eggs/ham")),
        ("/a%20b", Some("/a%20b")),
        ("/ham, /eggs", Some("/eggs")),
        ("eggs", None),
        ("//evil.example", None),
        ("/\\evil.example", None),
        ("/a b", None),
        ("/a?b", None),
        ("/a#b", None),
        ("\"/a,b\"", None),
        ("/\u{e9}", None),
        (long, None),
    ];
    for (value, expected) in table {
        let prefix = resolve(ALL, &[(PREFIX, value)]).prefix;
        assert_eq!(prefix.as_ref().map(|prefix| prefix.to_str().unwrap()), expected, "{value:?}");
    }
}

#[test]
fn several_lines_are_one_list() {
    let hops = Hops { x_for: 2, ..NONE };
    let client = |fields: &Fields| resolve(hops, fields).client.to_string();
    assert_eq!(client(&[(FOR, "10.0.0.1"), (FOR, "10.0.0.2")]), "10.0.0.1");
    assert_eq!(client(&[(FOR, "10.0.0.1, 10.0.0.2"), (FOR, ""), (FOR, "10.0.0.3")]), "10.0.0.2");
    // A visitor's open quote in an earlier line swallows everything, so nothing is believed.
    assert_eq!(client(&[(FOR, "\"10.0.0.1"), (FOR, "10.0.0.2"), (FOR, "10.0.0.3")]), "192.168.0.2");
    // One that closes in a later line makes one item of both.
    assert_eq!(client(&[(FOR, "10.0.0.1, \"a"), (FOR, "b\"")]), "10.0.0.1");
}

#[test]
fn only_trusted_peers_are_believed() {
    let trust = |nets: &[&str]| Trust {
        hops: ALL,
        trusted: Some(nets.iter().map(|net| net.parse().unwrap()).collect()),
    };
    let client = |nets: &[&str], peer: &str| {
        let origin = from_peer(&trust(nets), peer, "spam", &[(FOR, "203.0.113.7"), (XHOST, "eggs")]);
        (origin.client.to_string(), origin.host)
    };
    let believed = ("203.0.113.7".to_owned(), HeaderValue::from_static("eggs"));
    assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3"), believed);
    assert_eq!(client(&["10.0.0.0/8"], "::ffff:10.1.2.3"), believed);
    assert_eq!(client(&["::ffff:10.0.0.0/104"], "10.1.2.3"), believed);
    assert_eq!(client(&["192.0.2.1/32", "2001:db8::/32"], "2001:db8::1"), believed);
    let ignored = |peer: &str| (peer.to_owned(), HeaderValue::from_static("spam"));
    assert_eq!(client(&["10.0.0.0/8"], "11.0.0.1"), ignored("11.0.0.1"));
    assert_eq!(client(&["10.0.0.0/8"], "::ffff:11.0.0.1"), ignored("11.0.0.1"));
    assert_eq!(client(&["::ffff:10.0.0.0/104"], "11.0.0.1"), ignored("11.0.0.1"));
    assert_eq!(client(&["::/0"], "10.1.2.3"), ignored("10.1.2.3"));
    assert_eq!(client(&[], "10.1.2.3"), ignored("10.1.2.3"));
}

#[test]
fn without_hops_the_connection_speaks() {
    let forged: &Fields =
        &[(FOR, "10.0.0.1"), (PROTO, "https"), (XHOST, "eggs"), (PORT, "1"), (PREFIX, "/a")];
    let origin = resolve(NONE, forged);
    assert_eq!(origin.client, IpAddr::V4(Ipv4Addr::new(192, 168, 0, 2)));
    assert_eq!((url_root(&origin).as_str(), origin.port), ("http://spam/", 80));
    let peer = Peer { address: "::ffff:192.168.0.9".parse().unwrap(), scheme: Scheme::Https };
    let host = HeaderValue::from_static("spam:443");
    let origin = Origin::resolve(&Trust::default(), &peer, &host, &map(forged));
    assert_eq!((url_root(&origin).as_str(), origin.port), ("https://spam/", 443));
    assert_eq!(origin.client.to_string(), "192.168.0.9");
}

#[test]
fn the_requests_own_host_is_not_a_forwarded_one() {
    let origin = resolve(ALL, &[(HOST.as_str(), "ham")]);
    assert_eq!(origin.host, "spam");
}

proptest! {
    #[test]
    fn any_fields_give_a_sane_origin(
        fields in prop::collection::vec((0..5_usize, prop::collection::vec(any::<u8>(), 0..24)), 0..8),
        hops in prop::array::uniform5(0..4_u8),
    ) {
        let [x_for, x_proto, x_host, x_port, x_prefix] = hops;
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append([FOR, PROTO, XHOST, PORT, PREFIX][name], value);
            }
        }
        let trust = Trust { hops: Hops { x_for, x_proto, x_host, x_port, x_prefix }, trusted: None };
        let peer = Peer { address: IpAddr::from([192, 0, 2, 1]), scheme: Scheme::Https };
        let origin = Origin::resolve(&trust, &peer, &HeaderValue::from_static("spam"), &headers);
        let authority = parse_authority(origin.host.as_bytes());
        prop_assert!(authority.is_some_and(|it| it.port != Some(origin.scheme.default_port())));
        prop_assert_eq!(authority.map(|it| it.host), Some(origin.host_name()));
        prop_assert_ne!(origin.port, 0);
    }

    #[test]
    fn what_stands_left_of_the_believed_hop_changes_nothing(forged in "[ -!#-~]{0,40}") {
        let mut headers = HeaderMap::new();
        headers.insert(FOR, HeaderValue::from_str(&format!("{forged}, 10.0.0.1, 10.0.0.2")).unwrap());
        let trust = Trust { hops: Hops { x_for: 2, ..NONE }, trusted: None };
        let peer = Peer { address: IpAddr::from([192, 0, 2, 1]), scheme: Scheme::Http };
        let origin = Origin::resolve(&trust, &peer, &HeaderValue::from_static("spam"), &headers);
        prop_assert_eq!(origin.client, IpAddr::from([10, 0, 0, 1]));
    }
}
