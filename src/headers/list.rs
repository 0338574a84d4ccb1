//! Comma-separated header values, exactly as Werkzeug 3.1.7 and later read them.
//!
//! [`Origin::resolve`](super::Origin::resolve) takes one item counted from the right, as ProxyFix does. It
//! must never differ from Werkzeug in how items are counted: an item more or less would believe a value that
//! a visitor wrote. (One difference is on purpose: only spaces and tabs surround an item, RFC 9110 section
//! 5.6.3, where Python also strips the bytes 0x85 and 0xA0.)

use std::borrow::Cow;

use super::field::trim;

/// A header value read as a list. Empty items don't count; a value with an unclosed quote has no items at
/// all.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    value: &'a [u8],
    len: usize,
}

/// Reads `value` as a list, without allocating.
pub fn parse_list_header(value: &[u8]) -> List<'_> {
    let mut items = Items { rest: Some(value), unclosed: false };
    let len = items.by_ref().count();
    List { value, len: if items.unclosed { 0 } else { len } }
}

impl<'a> List<'a> {
    /// How many items it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The items from left to right, their surrounding quotes removed.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'a, [u8]>> + use<'a> {
        Items { rest: Some(self.value), unclosed: false }.take(self.len).map(unquote)
    }

    /// The item that the `n`-th proxy from us wrote: 1 is the last item. ProxyFix's `values[-n]`.
    pub fn from_right(&self, n: u8) -> Option<Cow<'a, [u8]>> {
        let index = self.len.checked_sub(usize::from(n))?;
        self.iter().nth(index)
    }
}

/// The items that aren't empty, trimmed, with their quotes.
struct Items<'a> {
    rest: Option<&'a [u8]>,
    unclosed: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let (end, closed) = item_end(rest);
            self.unclosed |= !closed;
            self.rest = rest.get(end + 1..);
            let item = trim(&rest[..end]);
            if !item.is_empty() {
                return Some(item);
            }
        }
    }
}

/// Where the first item of `value` ends (its comma, or the end), and whether every quote in it was closed.
fn item_end(value: &[u8]) -> (usize, bool) {
    // Hardly an item has a quote.
    match memchr::memchr2(b',', b'"', value) {
        None => return (value.len(), true),
        Some(at) if value[at] == b',' => return (at, true),
        Some(_) => {}
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (at, true),
            _ => {}
        }
    }
    (value.len(), !quoted)
}

/// Removes the quotes of an item that is quoted as a whole, and the backslash of each escaped byte in it.
fn unquote(item: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = item.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(item);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        // A backslash that escapes nothing stays, as Werkzeug's pattern `\\(.)` leaves it.
        plain.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(value: &str) -> Vec<String> {
        let list = parse_list_header(value.as_bytes());
        list.iter().map(|item| String::from_utf8(item.into_owned()).unwrap()).collect()
    }

    /// Every expectation was printed by `werkzeug.http.parse_list_header` of Werkzeug 3.1.8.
    #[test]
    fn lists_are_read_as_werkzeug_reads_them() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t ", &[]),
            (",", &[]),
            ("a", &["a"]),
            ("a, b", &["a", "b"]),
            ("a,, b,", &["a", "b"]),
            (", a", &["a"]),
            ("a b , c", &["a b", "c"]),
            (r#""a, b", c"#, &["a, b", "c"]),
            (r#""a"#, &[]),
            (r#"x, "a"#, &[]),
            (r#"x, a""#, &[]),
            (r#""""#, &[""]),
            (r#""", a"#, &["", "a"]),
            (r#"""#, &[]),
            (r#"a="b,c", d"#, &[r#"a="b,c""#, "d"]),
            (r#""a" "b""#, &[r#"a" "b"#]),
            (r#""a\"b", c"#, &[r#"a"b"#, "c"]),
            (r#""a\\", b"#, &[r"a\", "b"]),
            (r#""a\"#, &[]),
            (r#""a\", b"#, &[]),
            (r"a\,b", &[r"a\", "b"]),
            (r#"a\"b,c""#, &[r#"a\"b,c""#]),
        ];
        for (value, expected) in table {
            assert_eq!(items(value), *expected, "{value:?}");
        }
    }

    #[test]
    fn items_are_counted_from_the_right() {
        let list = parse_list_header(b"a, , b, c");
        let at = |n| list.from_right(n).map(Cow::into_owned);
        assert_eq!((list.len(), list.is_empty()), (3, false));
        assert_eq!(at(1).as_deref(), Some(&b"c"[..]));
        assert_eq!(at(3).as_deref(), Some(&b"a"[..]));
        assert_eq!(at(4), None);
        assert_eq!(at(0), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(value: Vec<u8>, n: u8) {
            let list = parse_list_header(&value);
            prop_assert_eq!(list.iter().count(), list.len());
            prop_assert_eq!(list.from_right(n).is_some(), n > 0 && usize::from(n) <= list.len());
        }

        #[test]
        fn unquoted_items_come_back_as_joined(parts in prop::collection::vec("[a-z0-9:.]{1,8}", 0..6)) {
            prop_assert_eq!(items(&parts.join(" , ")), parts);
        }
    }
}
