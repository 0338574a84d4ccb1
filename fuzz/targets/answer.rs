//! A backend's answer is the same however it is cut, and what any writer makes of a body is read as that body.

#![no_main]

use bytes::BytesMut;
use crossfade_fuzz::pieces;
use crossfade_fuzz::upstream::http1::body::{Body, Malformed, Next};
use crossfade_fuzz::upstream::http1::head;

/// Its head as text, its data, its trailers, what is behind it, and whether that is its end.
type Read = (String, Vec<u8>, String, Vec<u8>, bool);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((ends, bytes)) = pieces::split(data) else { return };
    let whole = read(bytes, &[bytes.len()]);
    let cut = read(bytes, &ends);
    // What is wrong may be seen before or behind what is right.
    if let (Ok(whole), Ok(cut)) = (&whole, &cut) {
        assert_eq!(whole, cut);
    }
    assert!(whole.is_ok() == cut.is_ok(), "{whole:?} and {cut:?}");
    // What any writer makes of these bytes.
    let mut written = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
        written.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        written.extend_from_slice(chunk);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"0\r\n\r\nHTTP/1.1");
    let (_, data, _, left, ended) = read(&written, &[written.len()]).expect("it is well made");
    assert_eq!((&data[..], &left[..], ended), (bytes, &b"HTTP/1.1"[..], true));
});

fn read(bytes: &[u8], ends: &[usize]) -> Result<Read, Malformed> {
    let (mut buffer, mut at, mut body) = (BytesMut::new(), 0, None::<Body>);
    let (mut head, mut data, mut trailers) = (String::new(), Vec::new(), String::new());
    for &end in ends.iter().chain([&bytes.len()]) {
        buffer.extend_from_slice(&bytes[at..end]);
        at = end;
        while body.is_none()
            && let Some(found) = head::parse(&mut buffer, 100, false)?
        {
            head.push_str(&format!("{} {:?} {:?}", found.status, found.headers, found.last));
            body = (!found.status.is_informational()).then_some(found.body);
        }
        let Some(body) = &mut body else { continue };
        loop {
            match body.next(&mut buffer)? {
                Next::Data(piece) => data.extend_from_slice(&piece),
                Next::Trailers(fields) => trailers = format!("{fields:?}"),
                Next::End | Next::More => break,
            }
        }
    }
    let ended = body.is_some_and(|body| body.is_end());
    Ok((head, data, trailers, buffer.to_vec(), ended))
}
