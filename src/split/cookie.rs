//! Cookies: those a visitor brings, and ours, which holds their bucket.
//!
//! `choose` looks for buckets, keys and pins in them; the response gets what [`set_cookie`] makes. Nothing
//! here may ever trust a visitor's bytes to be well formed, and nothing is copied to look at them.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use memchr::memchr;

use crate::split::bucket::Bucket;

/// The name of our cookie.
pub const NAME: &str = "crossfade";

/// The values of the cookies called `name` (its case counts), in the order they came, over all `Cookie`
/// lines. White space and one pair of double quotes around a value are trimmed.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    lines.flat_map(|line| Pairs(Some(line.as_bytes()))).filter_map(move |pair| value(pair, name.as_bytes()))
}

/// The visitor's bucket by our cookie: the first that is one, since a stray cookie of another path or domain
/// may stand before ours.
pub fn bucket(headers: &HeaderMap) -> Option<Bucket> {
    find(headers, NAME).find_map(Bucket::parse)
}

/// The `Set-Cookie` that gives a visitor their bucket for a year; `secure` where they came over https.
pub fn set_cookie(bucket: Bucket, secure: bool) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    let mut line = String::with_capacity(80);
    line.push_str(NAME);
    line.push('=');
    line.push_str(digits.format(bucket.as_u16()));
    line.push_str("; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
    if secure {
        line.push_str("; Secure");
    }
    HeaderValue::try_from(line).expect("digits and fixed ASCII words are a header value")
}

/// The pieces of a `Cookie` line between semicolons; they separate even inside quotes (RFC 6265 section 5.4).
struct Pairs<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Pairs<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.take()?;
        let Some(end) = memchr(b';', rest) else { return Some(rest) };
        self.0 = Some(&rest[end + 1..]);
        Some(&rest[..end])
    }
}

/// The value of `name=value`, if it is that name's.
fn value<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let after_name = pair.trim_ascii().strip_prefix(name)?.trim_ascii_start();
    let value = after_name.strip_prefix(b"=")?.trim_ascii_start();
    Some(value.strip_prefix(b"\"").and_then(|open| open.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_bytes(line).unwrap())).collect()
    }

    fn found<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
        find(headers, name).collect()
    }

    #[test]
    fn values_are_found_by_exact_name() {
        let table: [(&[u8], &[&[u8]]); 14] = [
            (b"a=1", &[b"1"]),
            (b"b=2; a=1; c=3", &[b"1"]),
            (b"b=2;a=1;c=3", &[b"1"]),
            (b"a=1; a=2", &[b"1", b"2"]),
            (b"a=\"1\"", &[b"1"]),
            (b" a = 1 ; b=2", &[b"1"]),
            (b"a=", &[b""]),
            (b"a=x=y", &[b"x=y"]),
            (b"a=\"", &[b"\""]),
            (b"a", &[]),
            (b"A=1; aa=1; xa=1; b=a=1", &[]),
            (b";;; ;=;=a; a", &[]),
            (b"a=\xff\xfe", &[b"\xff\xfe"]),
            (b"", &[]),
        ];
        for (line, values) in table {
            assert_eq!(found(&headers(&[line]), "a"), values, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn all_lines_are_looked_through_in_order() {
        let headers = headers(&[b"b=0; a=1", b"c=0", b"a=2; a=3"]);
        assert_eq!(found(&headers, "a"), [b"1", b"2", b"3"]);
        assert_eq!(found(&HeaderMap::new(), "a").len(), 0);
    }

    #[test]
    fn the_first_bucket_that_is_one_counts() {
        let table: [(&[u8], Option<u16>); 6] = [
            (b"crossfade=1234", Some(1234)),
            (b"crossfade=x; crossfade=10000; crossfade=5; crossfade=6", Some(5)),
            (b"crossfade=\"77\"", Some(77)),
            (b"crossfade-pin=12", None),
            (b"Crossfade=12", None),
            (b"crossfade=-1", None),
        ];
        for (line, number) in table {
            assert_eq!(
                bucket(&headers(&[line])).map(Bucket::as_u16),
                number,
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn our_cookie_reads_as_the_contract_says() {
        let bucket = Bucket::new(1234).unwrap();
        let plain = "crossfade=1234; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax";
        assert_eq!(set_cookie(bucket, false), plain);
        assert_eq!(set_cookie(bucket, true), format!("{plain}; Secure"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_only_bytes(
            line in prop::collection::vec(
                prop_oneof![prop::sample::select(b";=\"a".to_vec()), 32..127u8, 128..=255u8],
                0..200,
            ),
        ) {
            let headers = headers(&[&line]);
            for value in find(&headers, "a") {
                prop_assert!(!value.contains(&b';'));
            }
            let _ = bucket(&headers);
        }

        #[test]
        fn what_we_set_is_what_we_read(number in 0..10_000u16, secure: bool) {
            let set = set_cookie(Bucket::new(number).unwrap(), secure);
            let sent = set.as_bytes().split(|&b| b == b';').next().unwrap();
            prop_assert_eq!(bucket(&headers(&[sent])), Bucket::new(number));
        }
    }
}
