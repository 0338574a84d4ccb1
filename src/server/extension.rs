//! The extensions of a chunk, by the grammar of RFC 9112 section 7.1.1, less the white space before the first `;` that
//! readers differ about.
//!
//! `server::chunked` goes through them byte by byte; nobody is told what they say. Pure. It must never let a line end
//! within a quoted string: another reader would find the chunk's end elsewhere.

use crate::server::octets::{is_control, is_token};

/// Where in the extensions of a chunk the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// Behind a `;`.
    Begin,
    /// Within a name.
    Name,
    /// In white space behind it.
    NameEnd,
    /// Behind a `=`.
    Equals,
    /// Within a value that is a token.
    Value,
    /// Within one that is quoted.
    Quoted,
    /// Behind a backslash in it.
    Escaped,
    /// Behind its last quote.
    QuotedEnd,
    /// In white space behind a value.
    ValueEnd,
}

impl Extension {
    /// What follows `byte`, or nothing where it may not stand here.
    pub fn after(self, byte: u8) -> Option<Self> {
        let blank = matches!(byte, b' ' | b'\t');
        match (self, byte) {
            (Self::Quoted, b'"') => Some(Self::QuotedEnd),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted | Self::Escaped, _) => (!is_control(byte)).then_some(Self::Quoted),
            (Self::Begin | Self::Equals | Self::NameEnd | Self::ValueEnd, _) if blank => Some(self),
            (Self::Name, _) if blank => Some(Self::NameEnd),
            (Self::Value | Self::QuotedEnd, _) if blank => Some(Self::ValueEnd),
            (Self::Name | Self::NameEnd, b'=') => Some(Self::Equals),
            (Self::Equals, b'"') => Some(Self::Quoted),
            (Self::Begin | Self::Equals, b';') => None,
            (_, b';') => Some(Self::Begin),
            (Self::Begin | Self::Name, _) if is_token(byte) => Some(Self::Name),
            (Self::Equals | Self::Value, _) if is_token(byte) => Some(Self::Value),
            _ => None,
        }
    }

    /// Whether the line may end here.
    pub fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::QuotedEnd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_one(text: &str) -> bool {
        let end = text.bytes().try_fold(Extension::Begin, Extension::after);
        end.is_some_and(Extension::may_end)
    }

    #[test]
    fn names_with_and_without_values() {
        for text in
            ["a", "a=b", " a = b", "a;b;c=d", "a ;b", "a=b ; c", "a=\"\"", "a=\"b;\\\"\\\\ c\"", "a=\"b\" ;c"]
        {
            assert!(is_one(text), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            " ",
            ";",
            ";a",
            "a;",
            "a;;b",
            "=b",
            "a=",
            "a=;b",
            "a b",
            "a ",
            "a=b ",
            "a=b c",
            "\"a\"",
            "a=\"b",
            "a=\"b\\\"",
            "a=\"b\"c",
            "a=\"b\" ",
            "(a)",
            "a=b=c",
            "a=\"\0\"",
            "a=\"\r\"",
            "a\r",
            "a\n",
        ] {
            assert!(!is_one(text), "{text:?}");
        }
    }
}
