//! The length of a body, as digits (RFC 9110 section 8.6).
//!
//! `server::head` and the proxy read it, [`say_once`] says it on. It must never take what another reader could count
//! otherwise.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};

/// `value` as plain digits below 2^53, which every implementation behind us can count exactly.
pub fn of(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 16 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = value.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (number < 1 << 53).then_some(number)
}

/// One line, without leading zeros, of lengths that were found equal: what was understood, not what was said.
pub fn say_once(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return };
    let padded = first.len() > 1 && first.as_bytes().starts_with(b"0");
    if !padded && lines.next().is_none() {
        return;
    }
    if let Some(length) = of(first.as_bytes()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_said_once_and_without_zeros() {
        for (lines, said) in [
            (&["5"][..], &["5"][..]),
            (&["0"], &["0"]),
            (&["005"], &["5"]),
            (&["00"], &["0"]),
            (&["5", "5"], &["5"]),
            (&["x"], &["x"]),
            (&[], &[]),
        ] {
            let values = lines.iter().map(|line| (CONTENT_LENGTH, HeaderValue::from_static(line)));
            let mut headers: HeaderMap = values.collect();
            say_once(&mut headers);
            assert_eq!(headers.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), said, "{lines:?}");
        }
    }

    #[test]
    fn what_counts() {
        for (text, length) in [
            ("0", Some(0)),
            ("9007199254740991", Some((1 << 53) - 1)),
            ("9007199254740992", None),
            ("00000000000000005", None),
            ("", None),
            ("+5", None),
            ("5 ", None),
        ] {
            assert_eq!(of(text.as_bytes()), length, "{text:?}");
        }
    }
}
