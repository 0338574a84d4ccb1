//! Cookies: ours is found behind whatever else a browser sends, and no value is more than what stands between `=` and
//! `;`.

#![no_main]

use crossfade_fuzz::split::bucket::{BUCKETS, Bucket};
use crossfade_fuzz::split::cookie;
use http::header::{COOKIE, HeaderMap, HeaderValue};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let lines = data.split(|&byte| byte == b'\n');
    let mut headers: HeaderMap =
        lines.filter_map(|line| Some((COOKIE, HeaderValue::from_bytes(line).ok()?))).collect();
    for value in cookie::find(&headers, "session") {
        assert!(!value.contains(&b';'));
        assert!(value.is_empty() || data.windows(value.len()).any(|there| there == value), "made of nothing");
    }
    let found = cookie::bucket(&headers);
    let values: Vec<&[u8]> = cookie::find(&headers, cookie::NAME).collect();
    match found {
        Some(bucket) => assert!(values.iter().any(|value| names(value) == Some(bucket.as_u16()))),
        None => assert!(values.iter().all(|value| names(value).is_none())),
    }
    // A browser sends back what we set, behind what it has.
    let number =
        data.iter().fold(7, |sum: u16, &byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte))) % BUCKETS;
    let ours = Bucket::new(number).expect("it is one");
    let set = cookie::set_cookie(ours, data.len() % 2 == 0);
    let pair = set.as_bytes().split(|&byte| byte == b';').next().expect("it has a pair");
    headers.append(COOKIE, HeaderValue::from_bytes(pair).expect("a pair is a value"));
    assert_eq!(cookie::bucket(&headers), Some(found.unwrap_or(ours)));
});

/// The bucket that a value names: up to four digits.
fn names(value: &[u8]) -> Option<u16> {
    let digits = (1..=4).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let number: u16 = digits.then(|| std::str::from_utf8(value).ok()?.parse().ok())??;
    (number < BUCKETS).then_some(number)
}
