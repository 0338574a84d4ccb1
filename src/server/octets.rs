//! Classes of bytes that the grammars of RFC 9110 and RFC 9112 are made of.
//!
//! `server::head`, `server::framing` and `server::chunked` read by them. Pure. It must never be more lenient than the
//! grammar.

/// A character of a token (RFC 9110 section 5.6.2).
pub fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// A byte that may not stand in a line: neither HTAB, visible ASCII, space nor obs-text (RFC 9110 section 5.5).
pub fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// A character that visitors' targets are made of, but for some that browsers leave as they are.
pub fn is_usual_in_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'?' | b'&' | b'=' | b'.' | b'-' | b'_' | b'~' | b'%' | b'+' | b',' | b':' | b';'
        )
        || matches!(byte, b'@' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*')
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
            )
            || matches!(b, b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};
