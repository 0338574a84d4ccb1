//! What the visitor receives instead of the backend's own name.
//!
//! The proxy calls [`rewrite`] on every response after [`strip_response`](super::hop_by_hop::strip_response).
//! It must never touch a URL or cookie that names anyone but the backend, nor change a byte beyond the
//! authority: paths and queries are the app's.
//!
//! A URL counts as the backend's by its host and port, whichever of `http` and `https` it says, since
//! platforms redirect between the two; it gets the visitor's scheme. A URL that names the public host already
//! is left alone, its scheme too: that is how an app sends its visitors from http to https. A cookie's
//! `Domain` that is the backend's host is taken away, which makes it a cookie of the public host alone: the
//! backend's host is no public name, so nothing below it can have been meant.

use http::header::{CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::authority::{Authority, parse_authority};
use super::names;
use super::origin::Scheme;

/// What the visitor's address bar says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Public<'a> {
    /// The scheme the visitor uses.
    pub scheme: Scheme,
    /// The host the visitor asked for, `host[:port]`.
    pub host: &'a str,
}

/// Brings what names the backend back to the public host, and removes the platform's reporting fields, and a field
/// that says the answer is ours.
///
/// `backend_authorities` are all the names the app may know itself by: `host[:port]` in lower case, without
/// the scheme's own port. A response without any of these fields costs one pass over its names.
pub fn rewrite(headers: &mut HeaderMap, public: &Public<'_>, backend_authorities: &[String]) {
    let backend = Backend { authorities: backend_authorities, public };
    let mut unwanted = false;
    for (name, value) in headers.iter_mut() {
        let changed = match Kind::of(name) {
            Kind::Url => backend.brought_home(value.as_bytes()),
            Kind::Refresh => backend.refresh(value.as_bytes()),
            Kind::Cookie => backend.cookie(value.as_bytes()),
            Kind::Unwanted => {
                unwanted = true;
                None
            }
            Kind::Other => None,
        };
        if let Some(Ok(changed)) = changed.map(HeaderValue::try_from) {
            *value = changed;
        }
    }
    if unwanted {
        UNWANTED.iter().for_each(|name| drop(headers.remove(*name)));
    }
}

/// What doesn't reach the visitor.
const UNWANTED: [&HeaderName; 4] =
    [&names::NEL, &names::REPORT_TO, &names::REPORTING_ENDPOINTS, &names::X_CROSSFADE_ERROR];

/// What a field is to this module.
enum Kind {
    Url,
    Refresh,
    Cookie,
    Unwanted,
    Other,
}

impl Kind {
    fn of(name: &HeaderName) -> Self {
        match name {
            name if *name == SET_COOKIE => Self::Cookie,
            name if *name == LOCATION || *name == CONTENT_LOCATION => Self::Url,
            name if *name == REFRESH => Self::Refresh,
            name if UNWANTED.contains(&name) => Self::Unwanted,
            _ => Self::Other,
        }
    }
}

/// Whose names are looked for, and what they become.
struct Backend<'a> {
    authorities: &'a [String],
    public: &'a Public<'a>,
}

impl Backend<'_> {
    /// `url` at the public host, if it is absolute or starts with `//` and names the backend.
    fn brought_home(&self, url: &[u8]) -> Option<Vec<u8>> {
        let start = authority_start(url)?;
        let rest = &url[start..];
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        if !self.is_named_by(&parse_authority(&rest[..end])?) {
            return None;
        }
        let scheme = self.public.scheme.as_str().as_bytes();
        Some([scheme, b"://", self.public.host.as_bytes(), &rest[end..]].concat())
    }

    /// A `Refresh` value with its URL brought home: `5; url=https://...`, the URL perhaps in quotes.
    fn refresh(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (start, end) = refresh_url(value)?;
        let url = self.brought_home(&value[start..end])?;
        Some([&value[..start], &url, &value[end..]].concat())
    }

    /// A `Set-Cookie` value without each `Domain` that is the backend's host.
    fn cookie(&self, value: &[u8]) -> Option<Vec<u8>> {
        let names_backend = |attribute: &&[u8]| cookie_domain(attribute).is_some_and(|it| self.is_host(it));
        let mut parts = value.split(|b| *b == b';');
        let pair = parts.next()?;
        if !parts.clone().any(|part| names_backend(&part)) {
            return None;
        }
        let kept: Vec<&[u8]> =
            std::iter::once(pair).chain(parts.filter(|part| !names_backend(part))).collect();
        Some(kept.join(&b';'))
    }

    /// Whether `authority` is one of the backend's and not the public one, a default port counting as none.
    fn is_named_by(&self, authority: &Authority<'_>) -> bool {
        let default = matches!(authority.port, None | Some(80 | 443));
        let same = |other: &str| {
            parse_authority(other.as_bytes()).is_some_and(|other| {
                let ports = authority.port == other.port || (default && other.port.is_none());
                ports && authority.host.eq_ignore_ascii_case(other.host)
            })
        };
        self.authorities.iter().any(|own| same(own)) && !same(self.public.host)
    }

    /// Whether a cookie's domain is a host of the backend's and not the public one.
    fn is_host(&self, domain: &[u8]) -> bool {
        let same = |other: &str| {
            let other = parse_authority(other.as_bytes());
            other.is_some_and(|other| domain.eq_ignore_ascii_case(other.host.as_bytes()))
        };
        self.authorities.iter().any(|own| same(own)) && !same(self.public.host)
    }
}

/// Where the authority of `url` begins, unless it is relative to a host.
fn authority_start(url: &[u8]) -> Option<usize> {
    let begins = |start: &[u8]| url.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start));
    let starts: [&[u8]; 3] = [b"//", b"http://", b"https://"];
    starts.iter().find(|start| begins(start)).map(|start| start.len())
}

/// Where the URL of a `Refresh` value begins and ends, as the HTML standard's "shared declarative refresh
/// steps" read it: a number, `;` or `,` or a blank, perhaps `url` and `=`, perhaps a quote.
fn refresh_url(value: &[u8]) -> Option<(usize, usize)> {
    let blanks = |at: usize| at + value[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let digits = value.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let mut at = blanks(digits);
    if matches!(value.get(at), Some(b';' | b',')) {
        at = blanks(at + 1);
    }
    if value.get(at..at + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"url")) {
        let equals = blanks(at + 3);
        at = if value.get(equals) == Some(&b'=') { blanks(equals + 1) } else { at };
    }
    let Some(&quote @ (b'"' | b'\'')) = value.get(at) else {
        return Some((at, value.len()));
    };
    let inner = &value[at + 1..];
    let length = memchr::memchr(quote, inner).unwrap_or(inner.len());
    Some((at + 1, at + 1 + length))
}

/// The host that a cookie's attribute names, if it is a `Domain`; a dot in front means nothing (RFC 6265
/// section 5.2.3).
fn cookie_domain(attribute: &[u8]) -> Option<&[u8]> {
    let equals = memchr::memchr(b'=', attribute)?;
    let (name, value) = (attribute[..equals].trim_ascii(), attribute[equals + 1..].trim_ascii());
    let value = value.strip_prefix(b".").unwrap_or(value);
    name.eq_ignore_ascii_case(b"domain").then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PUBLIC: Public<'_> = Public { scheme: Scheme::Https, host: "www.example.com" };

    fn backend() -> Vec<String> {
        ["app-1.herokuapp.com", "10.0.0.1:5000", "[2001:db8::a]:5000"].map(String::from).to_vec()
    }

    fn rewritten(name: HeaderName, value: &str, public: &Public<'_>) -> String {
        let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(value).unwrap())]);
        rewrite(&mut headers, public, &backend());
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn urls_of_the_backend_come_home() {
        let table = [
            ("https://app-1.herokuapp.com", "https://www.example.com"),
            ("https://app-1.herokuapp.com/a%2Fb?c=d#e", "https://www.example.com/a%2Fb?c=d#e"),
            ("https://app-1.herokuapp.com?q", "https://www.example.com?q"),
            ("https://app-1.herokuapp.com#f", "https://www.example.com#f"),
            ("http://app-1.herokuapp.com/", "https://www.example.com/"),
            ("HTTPS://App-1.HerokuApp.com/X", "https://www.example.com/X"),
            ("https://app-1.herokuapp.com:443/", "https://www.example.com/"),
            ("http://app-1.herokuapp.com:80/", "https://www.example.com/"),
            ("http://app-1.herokuapp.com:443/", "https://www.example.com/"),
            ("//app-1.herokuapp.com/a//b", "https://www.example.com/a//b"),
            ("http://10.0.0.1:5000/a", "https://www.example.com/a"),
            ("http://[2001:DB8::A]:5000/a", "https://www.example.com/a"),
            ("https://app-1.herokuapp.com/\u{2713}", "https://www.example.com/\u{2713}"),
        ];
        for (from, to) in table {
            for name in [LOCATION, CONTENT_LOCATION] {
                let mut headers = HeaderMap::new();
                headers.insert(&name, HeaderValue::from_bytes(from.as_bytes()).unwrap());
                rewrite(&mut headers, &PUBLIC, &backend());
                assert_eq!(headers[name].as_bytes(), to.as_bytes(), "{from}");
            }
        }
    }

    #[test]
    fn urls_of_others_stay_as_they_are() {
        let table = [
            "",
            "/",
            "/a?next=https://app-1.herokuapp.com/",
            "//",
            "https://",
            "https://www.example.com/",
            "http://www.example.com/",
            "https://app-1.herokuapp.com.evil.com/",
            "https://x.app-1.herokuapp.com/",
            "https://app-1.herokuapp.com@evil.com/",
            "https://user@app-1.herokuapp.com/",
            "https://app-1.herokuapp.com:8443/",
            "https://app-1.herokuapp.com:/",
            "http://10.0.0.1/",
            "ftp://app-1.herokuapp.com/",
            "https:/app-1.herokuapp.com/",
        ];
        for url in table {
            assert_eq!(rewritten(LOCATION, url, &PUBLIC), url);
            assert_eq!(rewritten(REFRESH, url, &PUBLIC), url);
        }
    }

    #[test]
    fn the_public_scheme_and_port_are_the_visitors() {
        let public = Public { scheme: Scheme::Http, host: "localhost:8080" };
        let location = rewritten(LOCATION, "https://app-1.herokuapp.com/login", &public);
        assert_eq!(location, "http://localhost:8080/login");
    }

    #[test]
    fn a_backend_that_knows_itself_by_the_public_host_is_left_alone() {
        let public = Public { scheme: Scheme::Http, host: "App-1.herokuapp.com" };
        let location = "https://app-1.herokuapp.com/upgrade-to-tls";
        let cookie = "a=b; Domain=app-1.herokuapp.com";
        assert_eq!(rewritten(LOCATION, location, &public), location);
        assert_eq!(rewritten(SET_COOKIE, cookie, &public), cookie);
    }

    #[test]
    fn refreshes_come_home() {
        let table = [
            ("5; url=https://app-1.herokuapp.com/a", "5; url=https://www.example.com/a"),
            ("0;URL = 'http://app-1.herokuapp.com/a' x", "0;URL = 'https://www.example.com/a' x"),
            ("0, url=\"//app-1.herokuapp.com\"", "0, url=\"https://www.example.com\""),
            ("1.5 https://app-1.herokuapp.com?url=x", "1.5 https://www.example.com?url=x"),
            ("0;url='https://app-1.herokuapp.com", "0;url='https://www.example.com"),
            ("5", "5"),
            ("5;", "5;"),
            ("5; url", "5; url"),
            ("5; url=", "5; url="),
            ("5; url='", "5; url='"),
            ("5; url=/a", "5; url=/a"),
        ];
        for (from, to) in table {
            assert_eq!(rewritten(REFRESH, from, &PUBLIC), to);
        }
    }

    #[test]
    fn cookies_of_the_backends_host_become_the_public_hosts() {
        let table = [
            ("a=b; Domain=app-1.herokuapp.com; Path=/", "a=b; Path=/"),
            ("a=b;domain = .App-1.HerokuApp.com", "a=b"),
            ("a=b; Domain=10.0.0.1; HttpOnly", "a=b; HttpOnly"),
            (
                "a=\"b,c\"; Expires=Wed, 21 Oct 2026 07:28:00 GMT;DOMAIN=app-1.herokuapp.com;Secure",
                "a=\"b,c\"; Expires=Wed, 21 Oct 2026 07:28:00 GMT;Secure",
            ),
            ("domain=app-1.herokuapp.com; Path=/", "domain=app-1.herokuapp.com; Path=/"),
            ("a=b; Domain=herokuapp.com", "a=b; Domain=herokuapp.com"),
            ("a=b; Domain=example.com", "a=b; Domain=example.com"),
            ("a=b; Domain=", "a=b; Domain="),
            ("a=b; Domain", "a=b; Domain"),
            ("", ""),
        ];
        for (from, to) in table {
            assert_eq!(rewritten(SET_COOKIE, from, &PUBLIC), to);
        }
    }

    #[test]
    fn every_line_of_a_field_is_rewritten() {
        let mut headers = HeaderMap::new();
        for value in ["a=b; Domain=app-1.herokuapp.com", "c=d", "e=f; Domain=app-1.herokuapp.com; Secure"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(value));
        }
        rewrite(&mut headers, &PUBLIC, &backend());
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=b", "c=d", "e=f; Secure"]);
    }

    /// A backend's own `X-Crossfade-Error` made its answer look like ours.
    #[test]
    fn reporting_fields_and_ours_do_not_reach_the_visitor() {
        let mut headers = HeaderMap::new();
        for name in UNWANTED {
            headers.insert(name, HeaderValue::from_static("{}"));
        }
        headers.insert(LOCATION, HeaderValue::from_static("/a"));
        rewrite(&mut headers, &PUBLIC, &[]);
        assert_eq!(headers.len(), 1);
    }

    proptest! {
        #[test]
        fn any_response_is_rewritten_without_a_panic(
            start in "(https?:)?//(app-1\\.herokuapp\\.com|10\\.0\\.0\\.1)?|5; ?url=['\"]?|a=b; *domain=|",
            rest: Vec<u8>,
        ) {
            let Ok(value) = HeaderValue::from_bytes(&[start.as_bytes(), &rest].concat()) else { return Ok(()) };
            for name in [LOCATION, CONTENT_LOCATION, REFRESH, SET_COOKIE] {
                let mut headers = HeaderMap::from_iter([(name, value.clone())]);
                rewrite(&mut headers, &PUBLIC, &backend());
                prop_assert_eq!(headers.len(), 1);
            }
        }

        #[test]
        fn paths_come_through_byte_for_byte(path in "/[!-~]{0,40}") {
            let from = format!("https://app-1.herokuapp.com{path}");
            prop_assert_eq!(rewritten(LOCATION, &from, &PUBLIC), format!("https://www.example.com{path}"));
        }
    }
}
