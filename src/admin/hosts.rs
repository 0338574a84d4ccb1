//! Pure: whether a request was made for this listener, and not by another site's page in somebody's browser.
//!
//! `auth` calls it. A page of another site can have its visitor's browser send requests here, and by DNS rebinding even
//! read the answers; neither must ever get further than this.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri};

/// Why a request is refused, in one sentence.
pub(super) type Foreign = String;

/// Whether its `Host` is an address, `localhost` or one of `hosts`, and its `Origin`, if it has one, the same.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> Result<(), Foreign> {
    if uri.authority().is_some() {
        return Err("this isn't a proxy: ask for a path".to_owned());
    }
    let host = only(headers, &HOST)?.ok_or("a request needs one `Host`")?;
    let host: Authority = host.parse().map_err(|_| "`Host` isn't a name or an address".to_owned())?;
    if host.as_str().contains('@') || !is_ours(host.host(), hosts) {
        let name = host.host().escape_debug();
        return Err(format!(
            "the host `{name}` isn't known: add it to `server.admin_hosts`, or use the address"
        ));
    }
    let Some(origin) = only(headers, &ORIGIN)? else { return Ok(()) };
    if is_of(origin, &host) { Ok(()) } else { Err("this was asked for by another site's page".to_owned()) }
}

/// Whether a browser sent it for a page.
pub(super) fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
}

/// A name could be anybody's, pointed here by their DNS; an address can't.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address =
        bare.map_or_else(|| host.parse::<Ipv4Addr>().is_ok(), |bare| bare.parse::<Ipv6Addr>().is_ok());
    is_address
        || host.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
}

/// Whether an `Origin` has this host and port.
fn is_of(origin: &str, host: &Authority) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let Ok(origin) = authority.parse::<Authority>() else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    !authority.contains('@') && origin.host().eq_ignore_ascii_case(host.host()) && port(&origin) == port(host)
}

/// The one value of a field; more are as good as another.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Foreign> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    match (first, second) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| format!("`{name}` isn't text")),
        (Some(_), Some(_)) => Err(format!("a request has one `{name}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(uri: &str, fields: &[(HeaderName, &str)]) -> Result<(), Foreign> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().unwrap());
        }
        check(&uri.parse().unwrap(), &headers, &["admin.example.com".to_owned()])
    }

    #[test]
    fn a_host_is_an_address_or_known() {
        for (host, is_known) in [
            ("127.0.0.1", true),
            ("127.0.0.1:9901", true),
            ("192.0.2.7:9901", true),
            ("[::1]:9901", true),
            ("[2001:db8::1]", true),
            ("localhost:9901", true),
            ("LocalHost", true),
            ("admin.example.com", true),
            ("Admin.Example.com:9901", true),
            ("evil.example", false),
            ("evil.example:9901", false),
            ("admin.example.com.evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1@evil.example", false),
            ("x@127.0.0.1", false),
            ("0x7f000001", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(checked("/", &[(HOST, host)]).is_ok(), is_known, "{host}");
        }
        assert!(checked("/", &[]).is_err());
        assert!(checked("/", &[(HOST, "127.0.0.1"), (HOST, "127.0.0.1")]).is_err());
        assert!(checked("http://127.0.0.1/", &[(HOST, "127.0.0.1")]).is_err());
    }

    #[test]
    fn an_origin_is_the_same_host_and_port() {
        for (host, origin, is_same) in [
            ("127.0.0.1:9901", "http://127.0.0.1:9901", true),
            ("127.0.0.1:9901", "https://127.0.0.1:9901", true),
            ("localhost", "http://LOCALHOST:80", true),
            ("admin.example.com", "https://admin.example.com", true),
            ("[::1]:9901", "http://[::1]:9901", true),
            ("127.0.0.1:9901", "http://127.0.0.1:9902", false),
            ("127.0.0.1:9901", "http://127.0.0.1", false),
            ("127.0.0.1:9901", "http://localhost:9901", false),
            ("127.0.0.1:9901", "https://evil.example", false),
            ("127.0.0.1:9901", "null", false),
            ("127.0.0.1:9901", "ftp://127.0.0.1:9901", false),
            ("127.0.0.1:9901", "http://x@127.0.0.1:9901", false),
            ("127.0.0.1:9901", "", false),
        ] {
            assert_eq!(checked("/", &[(HOST, host), (ORIGIN, origin)]).is_ok(), is_same, "{host} {origin}");
        }
        let twice = [(HOST, "localhost"), (ORIGIN, "http://localhost"), (ORIGIN, "https://evil.example")];
        assert!(checked("/", &twice).is_err());
    }
}
