//! A chunked body ends at the same byte however it is cut, where a plain reader of RFC 9112 finds its end, too.

#![no_main]

use bytes::BytesMut;
use crossfade_fuzz::pieces;
use crossfade_fuzz::server::body::Next;
use crossfade_fuzz::server::chunked::Chunked;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((ends, bytes)) = pieces::split(data) else { return };
    let whole = end(bytes, &[bytes.len()]);
    assert_eq!(end(bytes, &ends), whole);
    let each: Vec<usize> = (1..=bytes.len()).collect();
    assert_eq!(end(bytes, &each), whole);
    if let Ok(Some(length)) = whole {
        assert_eq!(plain(bytes), Some(length));
    }
    // What any writer makes of these bytes is taken to its last one, and to no further.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut written = Vec::new();
    for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
        written.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        written.extend_from_slice(chunk);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"0\r\n\r\n");
    let length = written.len();
    written.extend_from_slice(bytes);
    assert_eq!(end(&written, &[written.len()]), Ok(Some(length)));
});

/// Where the body ends; nothing while it goes on; an error where it is refused.
fn end(bytes: &[u8], ends: &[usize]) -> Result<Option<usize>, ()> {
    let (mut chunked, mut at, mut here) = (Chunked::at_start(), 0, BytesMut::new());
    for &end in ends {
        here.extend_from_slice(&bytes[at..end]);
        at = end;
        loop {
            match chunked.next(&mut here).map_err(drop)? {
                Next::Data(data) => assert!(!data.is_empty()),
                Next::Trailers(_) => assert!(chunked.is_end()),
                Next::End => return Ok(Some(at - here.len())),
                Next::More => break,
            }
        }
        assert!(here.is_empty(), "all of it is the body's");
    }
    Ok(None)
}

/// RFC 9112 section 7.1, as one would write it who has all bytes at hand.
fn plain(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let line = |at: usize| {
        let length = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        Some((&bytes[at..at + length], at + length + 2))
    };
    loop {
        let (size, next) = line(at)?;
        let digits = size.split(|&byte| byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        assert_eq!(bytes.get(at + size..at + size + 2)?, b"\r\n");
        at += size + 2;
    }
    loop {
        let (trailer, next) = line(at)?;
        at = next;
        if trailer.is_empty() {
            return Some(at);
        }
    }
}
