//! Frames of WebSockets end where a plain reader of RFC 6455 finds their ends, however the bytes are cut.

#![no_main]

use crossfade_fuzz::pieces;
use crossfade_fuzz::proxy::websocket::Frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((cuts, bytes)) = pieces::split(data) else { return };
    let (ends, closed) = plain(bytes);
    let mut whole = Frames::default();
    whole.follow(bytes);
    assert_eq!(whole.is_between(), bytes.is_empty() || ends.contains(&bytes.len()));
    assert_eq!(whole.has_closed(), closed);
    let (mut frames, mut at) = (Frames::default(), 0);
    for cut in cuts {
        while at < cut {
            let taken = frames.follow_frame(&bytes[at..cut]);
            assert!(taken > 0 && taken <= cut - at);
            at += taken;
            assert_eq!(frames.is_between(), ends.contains(&at), "at {at} of {ends:?}");
        }
    }
    assert_eq!(format!("{frames:?}"), format!("{whole:?}"));
});

/// Where frames end (section 5.2), and whether one of them closes.
fn plain(bytes: &[u8]) -> (Vec<usize>, bool) {
    let (mut at, mut ends, mut closed) = (0, Vec::new(), false);
    loop {
        let rest = &bytes[at..];
        let [first, second, ..] = rest else { return (ends, closed) };
        let (head, payload) = match second & 0x7f {
            126 if rest.len() >= 4 => (4, u64::from(u16::from_be_bytes([rest[2], rest[3]]))),
            127 if rest.len() >= 10 => (10, u64::from_be_bytes(rest[2..10].try_into().expect("eight bytes"))),
            126 | 127 => return (ends, closed),
            short => (2, u64::from(short)),
        };
        closed |= first & 0x0f == 8;
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        match payload.checked_add(head + key).and_then(|length| usize::try_from(length).ok()) {
            Some(length) if length <= rest.len() => at += length,
            _ => return (ends, closed),
        }
        ends.push(at);
    }
}
