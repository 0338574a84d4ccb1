//! `host[:port]`, the one strict reading of it.
//!
//! The proxy refuses a request by it (400), `origin` believes an `X-Forwarded-Host` by it, `response`
//! compares by it. It must never accept what two readers could understand differently.

use crate::config::limits::HOST_SIZE;
use std::net::{IpAddr, Ipv6Addr};
use std::str;

/// A valid `host[:port]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A name or an address, IPv6 in its brackets, in the case it was written in.
    pub host: &'a str,
    /// 1 to 65535, where one was written.
    pub port: Option<u16>,
}

/// Reads `bytes` as a host and perhaps a port, or says nothing where they aren't one.
///
/// Stricter than RFC 3986 where leniency helps only attackers: the host has at least one character; `%` and
/// sub-delims are refused, since one reader decodes them and the next doesn't, and a comma makes a list of
/// `X-Forwarded-Host`; so are an empty port, 0 and leading zeros, userinfo and IPv6 zones.
pub fn parse_authority(bytes: &[u8]) -> Option<Authority<'_>> {
    let host_end = match bytes {
        [b'[', inner @ ..] => {
            let inner_end = memchr::memchr(b']', inner)?;
            str::from_utf8(&inner[..inner_end]).ok()?.parse::<Ipv6Addr>().ok()?;
            inner_end + 2
        }
        _ => {
            let name_end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
            is_name(&bytes[..name_end]).then_some(name_end)?
        }
    };
    let host = str::from_utf8(&bytes[..host_end]).ok()?;
    match &bytes[host_end..] {
        [] => Some(Authority { host, port: None }),
        [b':', digits @ ..] => Some(Authority { host, port: Some(parse_port(digits)?) }),
        _ => None,
    }
}

/// A port in 1..=65535, written in digits without leading zeros.
pub fn parse_port(digits: &[u8]) -> Option<u16> {
    // `u16::from_str` would take a plus sign.
    let plain = matches!(digits, [b'1'..=b'9', ..]) && digits.len() <= 5;
    if !plain || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    u16::try_from(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))).ok()
}

impl Authority<'_> {
    /// The host as an address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// Whether `bytes` are a reg-name of unreserved characters (RFC 3986 section 2.3).
fn is_name(bytes: &[u8]) -> bool {
    let fits = (1..=HOST_SIZE).contains(&bytes.len());
    fits && bytes.iter().all(|byte| UNRESERVED[usize::from(*byte)])
}

/// A look in a table costs a third of the comparisons.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let kind = byte as u8;
        table[byte] = kind.is_ascii_alphanumeric() || matches!(kind, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_and_ports_are_read() {
        let table = [
            ("spam", "spam", None),
            ("Spam.Example:8080", "Spam.Example", Some(8080)),
            ("spam.example.", "spam.example.", None),
            ("my_service-1~x:1", "my_service-1~x", Some(1)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[2001:db8::a]", "[2001:db8::a]", None),
            ("[::ffff:10.0.0.1]:443", "[::ffff:10.0.0.1]", Some(443)),
        ];
        for (text, host, port) in table {
            assert_eq!(parse_authority(text.as_bytes()), Some(Authority { host, port }), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let long = "a".repeat(HOST_SIZE + 1);
        let table = [
            "",
            ":80",
            "spam:",
            "spam:0",
            "spam:080",
            "spam:65536",
            "spam:+80",
            "spam:8 0",
            "spam:80:80",
            "a,b",
            "a%2eb",
            "a b",
            " a",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "user@spam",
            "spam\t",
            "\u{e9}",
            "2001:db8::a",
            "[",
            "[]",
            "[2001:db8::a",
            "[2001:db8::a]x",
            "[fe80::1%eth0]",
            "[127.0.0.1]",
            "[::1]]",
            "[[::1]]",
            "a!b",
            &long,
        ];
        for text in table {
            assert_eq!(parse_authority(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_told_from_a_name() {
        let address = |text: &str| parse_authority(text.as_bytes()).unwrap().address();
        assert_eq!(address("10.0.0.1:80"), Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(address("[::1]:80"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(address("spam"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            if let Some(authority) = parse_authority(&bytes) {
                let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
                prop_assert_eq!(format!("{}{port}", authority.host).into_bytes(), bytes);
            }
        }
    }
}
