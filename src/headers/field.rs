//! The lines of a head, and each as the field that it is (RFC 9112 sections 2.2 and 5).
//!
//! The readers of requests' heads and of responses' call it. It must never take a byte that the types don't hold: names
//! are tokens, values have no control characters but HTAB.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// The lines of a head without their ends, which may lack the CR (RFC 9112 section 2.2). A CR elsewhere is part of what
/// it stands in, and nothing may have one.
#[derive(Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// All of `head`.
    pub fn of(head: &'a [u8]) -> Self {
        Self { rest: head }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// The field of a `line` of `head`, without its end: its name as it stands and as a type, and its value, which stays
/// where it is. Nothing between name and colon, and no value over several lines.
pub fn read<'a>(head: &Bytes, line: &'a [u8]) -> Option<(&'a [u8], HeaderName, HeaderValue)> {
    let colon = memchr::memchr(b':', line)?;
    let parsed = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_maybe_shared(head.slice_ref(trim(&line[colon + 1..]))).ok()?;
    Some((&line[..colon], parsed, value))
}

/// `value` without the spaces and tabs around it (RFC 9110 section 5.6.3).
pub fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_as_it_stands_or_not_at_all() {
        for (line, field) in [
            ("Accept: \t a b\t ", Some(("accept", "a b"))),
            ("x:", Some(("x", ""))),
            ("x: :", Some(("x", ":"))),
            ("x", None),
            (":", None),
            ("x : y", None),
            (" x: y", None),
            ("x: y\r", None),
            ("x: \u{c}", None),
            ("(x): y", None),
        ] {
            let head = Bytes::copy_from_slice(line.as_bytes());
            let found = read(&head, &head).map(|(name, parsed, value)| {
                assert!(name.eq_ignore_ascii_case(parsed.as_str().as_bytes()));
                (parsed, value)
            });
            let field =
                field.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            assert_eq!(found, field, "{line:?}");
        }
    }
}
