//! What a route says about hosts and paths.
//!
//! `config` parses patterns, [`Router`](crate::routing::Router) compiles them. A pattern must never mean
//! anything but what it reads as: what could be misread is refused with its remedy.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// Which hosts a route serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// One host: a DNS name in lower case, or an address (IPv6 without brackets, in its shortest form).
    Exact(String),
    /// Every host with one or more labels before this suffix, which begins with a dot: of `*.example.com` it
    /// is `.example.com`, which neither `example.com` nor `.example.com` matches.
    Wildcard(String),
}

impl HostPattern {
    /// A pattern from `www.example.com`, `*.example.com`, `192.0.2.1` or `[2001:db8::1]`, whatever its case.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let refuse = |why| Err(PatternError::new(text, why));
        if text == "*" {
            return refuse(Why::AnyHost);
        }
        if text.contains('/') {
            return refuse(Why::Url);
        }
        if let Some(address) = ipv6(text) {
            return Ok(Self::Exact(address.to_string()));
        }
        if text.contains(':') {
            return refuse(Why::Port);
        }
        let (wild, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        check_name(&name).map_err(|why| PatternError::new(text, why))?;
        Ok(if wild { Self::Wildcard(format!(".{name}")) } else { Self::Exact(name) })
    }

    /// Whether `host` (without a port) is meant, whatever its case; a dot at its end doesn't count.
    pub fn matches(&self, host: &str) -> bool {
        let host = normal(host);
        match self {
            Self::Exact(name) => *host == **name,
            Self::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// Which paths a route serves: `/` all, `/api` itself and what is below it (`/api/…`, `/api?…`, not
/// `/apiary`), `/api/` only what is below.
///
/// The target is compared as it was sent: `/%61pi` and `/x/../api` aren't below `/api`, since backends differ
/// in what they make of those.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// A prefix from text that begins with `/`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let refuse = |why| Err(PatternError::new(text, why));
        if !text.starts_with('/') {
            return refuse(Why::NoSlash);
        }
        if text.contains('*') {
            return refuse(Why::PathWildcard);
        }
        if text.contains(['?', '#']) {
            return refuse(Why::Query);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse(Why::PathCharacter);
        }
        Ok(Self(text.to_owned()))
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `target`, a path and maybe a query, is in it. `/` has everything, the `*` of OPTIONS too.
    pub fn matches(&self, target: &str) -> bool {
        if self.0 == "/" {
            return true;
        }
        match target.strip_prefix(&self.0) {
            Some(rest) => {
                self.0.ends_with('/') || matches!(rest.as_bytes().first(), None | Some(b'/' | b'?'))
            }
            None => false,
        }
    }
}

impl Default for PathPrefix {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text isn't a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {why}")]
pub struct PatternError {
    text: String,
    why: Why,
}

impl PatternError {
    fn new(text: &str, why: Why) -> Self {
        Self { text: text.to_owned(), why }
    }
}

/// What is wrong with a pattern and what to write instead; it follows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("would match every host; leave `hosts` out for that")]
    AnyHost,
    #[error("is a URL or path, but hosts are names alone; write it like \"www.example.com\"")]
    Url,
    #[error("has a port, but a route serves its hosts on every port we listen on; leave the port out")]
    Port,
    #[error("has a `*` where none can stand; only a whole first label may be one, like \"*.example.com\"")]
    HostWildcard,
    #[error("is not in ASCII; write the name in its `xn--` form")]
    HostNotAscii,
    #[error(
        "is not a host name; labels of a-z, 0-9, `-` and `_` (1 to 63 each, 253 together) are joined by dots"
    )]
    HostName,
    #[error("does not begin with `/`; write a path like \"/api\"")]
    NoSlash,
    #[error("has a `*`, but a path is a prefix and matches all that is below it; leave the `*` out")]
    PathWildcard,
    #[error("has a query or fragment, but routes go by path alone; leave it out")]
    Query,
    #[error("has a space or a character outside ASCII; write it percent-encoded as it stands in requests")]
    PathCharacter,
}

/// A host as patterns spell it: lower case, no dot at the end, IPv6 without brackets in its shortest form.
/// Allocates only for hosts written otherwise, and for IPv6.
pub(super) fn normal(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Some(address) = ipv6(host) {
        return Cow::Owned(address.to_string());
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(host.to_ascii_lowercase());
    }
    Cow::Borrowed(host)
}

/// The IPv6 address that `host` is, in brackets or without.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    let bare = host.strip_prefix('[').and_then(|open| open.strip_suffix(']')).unwrap_or(host);
    // A name has no colon, so that names skip the parser.
    if !bare.contains(':') {
        return None;
    }
    bare.parse().ok()
}

fn check_name(name: &str) -> Result<(), Why> {
    if !name.is_ascii() {
        return Err(Why::HostNotAscii);
    }
    if name.contains('*') {
        return Err(Why::HostWildcard);
    }
    let fits = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        plain && (1..=63).contains(&label.len())
    };
    if name.len() > 253 || !name.split('.').all(fits) { Err(Why::HostName) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn hosts_are_read_and_printed() {
        let table = [
            ("www.Example.COM", HostPattern::Exact("www.example.com".into()), "www.example.com"),
            ("example.com.", HostPattern::Exact("example.com".into()), "example.com"),
            ("localhost", HostPattern::Exact("localhost".into()), "localhost"),
            ("my_app.internal", HostPattern::Exact("my_app.internal".into()), "my_app.internal"),
            ("*.Example.com", HostPattern::Wildcard(".example.com".into()), "*.example.com"),
            ("192.0.2.1", HostPattern::Exact("192.0.2.1".into()), "192.0.2.1"),
            ("[2001:DB8:0::1]", HostPattern::Exact("2001:db8::1".into()), "2001:db8::1"),
            ("::1", HostPattern::Exact("::1".into()), "::1"),
        ];
        for (text, pattern, printed) in table {
            assert_eq!(host(text), pattern);
            assert_eq!(pattern.to_string(), printed);
        }
    }

    #[test]
    fn hosts_that_could_be_misread_are_refused_with_a_remedy() {
        let long = "a.".repeat(127) + "a";
        let table = [
            ("*", "leave `hosts` out"),
            ("example.com:8080", "leave the port out"),
            ("[::1]:80", "leave the port out"),
            ("*.example.com:443", "leave the port out"),
            ("https://example.com", "names alone"),
            ("example.com/", "names alone"),
            ("*example.com", "first label"),
            ("www.*.com", "first label"),
            ("*.*.com", "first label"),
            ("bücher.example", "xn--"),
            ("", "labels"),
            (".", "labels"),
            ("*.", "labels"),
            (".example.com", "labels"),
            ("a..b", "labels"),
            ("a b", "labels"),
            ("[::g]", "port"),
            (&long, "253"),
        ];
        for (text, remedy) in table {
            let error = HostPattern::parse(text).expect_err(text).to_string();
            assert!(error.contains(remedy) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn hosts_match_whatever_their_case() {
        let table = [
            ("www.example.com", "WWW.example.COM", true),
            ("www.example.com", "www.example.com.", true),
            ("www.example.com", "example.com", false),
            ("www.example.com", "awww.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.B.example.com.", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "aexample.com", false),
            ("*.example.com", "", false),
            ("[::1]", "[0:0::1]", true),
            ("::1", "::1", true),
            ("192.0.2.1", "192.0.2.1", true),
        ];
        for (pattern, name, matches) in table {
            assert_eq!(host(pattern).matches(name), matches, "{pattern} and {name}");
        }
    }

    #[test]
    fn usual_hosts_are_not_copied() {
        for name in ["www.example.com", "www.example.com.", "192.0.2.1", "localhost", ""] {
            assert!(matches!(normal(name), Cow::Borrowed(_)), "{name}");
        }
    }

    #[test]
    fn paths_match_at_a_border() {
        let table = [
            ("/", "/", true),
            ("/", "/anything?x", true),
            ("/", "*", true),
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/v1", true),
            ("/api", "/api?x=1", true),
            ("/api", "/apiary", false),
            ("/api", "/API", false),
            ("/api", "/%61pi", false),
            ("/api", "/", false),
            ("/api/", "/api/v1", true),
            ("/api/", "/api/", true),
            ("/api/", "/api", false),
            ("/api/", "/api?x", false),
            ("/api", "*", false),
        ];
        for (prefix, target, matches) in table {
            assert_eq!(PathPrefix::parse(prefix).unwrap().matches(target), matches, "{prefix} and {target}");
        }
        assert_eq!(PathPrefix::default(), PathPrefix::parse("/").unwrap());
    }

    #[test]
    fn paths_that_could_be_misread_are_refused_with_a_remedy() {
        let table = [
            ("", "begin with `/`"),
            ("api", "begin with `/`"),
            ("https://a.example/", "begin with `/`"),
            ("/api/*", "leave the `*` out"),
            ("/api?x=1", "leave it out"),
            ("/api#top", "leave it out"),
            ("/a b", "percent-encoded"),
            ("/bücher", "percent-encoded"),
            ("/a\n", "percent-encoded"),
        ];
        for (text, remedy) in table {
            let error = PathPrefix::parse(text).expect_err(text).to_string();
            assert!(error.contains(remedy), "{error}");
        }
    }
}
