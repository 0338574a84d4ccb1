//! Pure: where the frames of one direction of a WebSocket end (RFC 6455 section 5.2), and the frame that ends one.
//!
//! `tunnel` runs what a backend sends past it, so that on a drain a close frame of ours goes between two of its frames
//! and never into one. It must never look at a payload, nor hold more of a frame than its first ten bytes.

/// A close frame to a visitor: 1012, Service Restart (RFC 6455 section 7.4.2, IANA's registry).
pub const CLOSE_RESTART: [u8; 4] = [0x88, 0x02, 0x03, 0xF4];

const OPCODE: u8 = 0x0F;
const CLOSE: u8 = 0x8;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub struct Frames {
    /// The first bytes of the frame at hand, to its length.
    head: [u8; 10],
    known: usize,
    /// Bytes that its key and payload still have.
    left: u64,
    closed: bool,
}

impl Frames {
    /// Whether a frame may begin here.
    pub fn is_between(&self) -> bool {
        self.known == 0 && self.left == 0
    }

    /// Whether a close frame has begun: nothing may follow it (section 5.5.1).
    pub fn has_closed(&self) -> bool {
        self.closed
    }

    /// Takes in all of `bytes`.
    pub fn follow(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at += self.follow_frame(&bytes[at..]);
        }
    }

    /// Takes in what `bytes` begin with, to the end of a frame at most; says how many bytes that is.
    pub fn follow_frame(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.left == 0 {
            let Some(&byte) = bytes.get(at) else { return at };
            at += 1;
            self.head[self.known] = byte;
            self.known += 1;
            if self.known == head_length(self.head[1], self.known) {
                self.begin();
                if self.left == 0 {
                    return at;
                }
            }
        }
        let passing = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
        self.left -= passing as u64;
        at + passing
    }

    /// The head is whole.
    fn begin(&mut self) {
        let second = self.head[1];
        let extended = self.head[2..self.known].iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte));
        let payload = if second & LENGTH < 126 { u64::from(second & LENGTH) } else { extended };
        let key = if second & MASKED == 0 { 0 } else { 4 };
        // A length above 2^63 isn't allowed: such a frame never ends, and nothing of ours goes into it.
        self.left = payload.saturating_add(key);
        self.closed |= self.head[0] & OPCODE == CLOSE;
        self.known = 0;
    }
}

/// Bytes of a frame's head without its key, as far as `known` of them tell.
fn head_length(second: u8, known: usize) -> usize {
    match second & LENGTH {
        _ if known < 2 => 2,
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with this opcode and payload, as either side writes it.
    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65536 => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(if masked { &[1, 2, 3, 4] } else { &[] });
        // A payload that looks like frames.
        bytes.extend((0..length).map(|at| [0x88, 0x02][at % 2]));
        bytes
    }

    /// Lengths of payloads, those beside which the head's form changes among them.
    fn length() -> impl Strategy<Value = usize> {
        prop_oneof![0..300usize, Just(125), Just(126), Just(65535), Just(65536)]
    }

    #[test]
    fn a_close_frame_is_one_by_its_head_alone() {
        for (opcode, closes) in
            [(0x1, false), (0x2, false), (0x8, true), (0x9, false), (0xA, false), (0x0, false)]
        {
            let mut frames = Frames::default();
            frames.follow(&frame(opcode, 200, false)[..4]);
            assert_eq!(frames.has_closed(), closes, "{opcode}");
        }
        let mut frames = Frames::default();
        frames.follow(&CLOSE_RESTART);
        assert!(frames.is_between() && frames.has_closed());
    }

    #[test]
    fn a_frame_of_an_impossible_length_never_ends() {
        let mut frames = Frames::default();
        frames.follow(&[0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        frames.follow(&[0; 100_000]);
        assert!(!frames.is_between());
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_the_bytes_are_cut(
            kinds in prop::collection::vec((length(), 0..16u8, any::<bool>()), 1..5),
            cuts in prop::collection::vec(1..5000usize, 1..40),
        ) {
            let frames = kinds.iter().map(|&(length, opcode, masked)| frame(opcode, length, masked));
            let frames: Vec<_> = frames.collect();
            let mut ends = vec![0];
            ends.extend(frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }));
            let bytes = frames.concat();
            let (mut at, mut follower) = (0, Frames::default());
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(bytes.len());
                while at < end {
                    let taken = follower.follow_frame(&bytes[at..end]);
                    prop_assert!(taken > 0);
                    at += taken;
                    prop_assert_eq!(follower.is_between(), ends.contains(&at), "at {}", at);
                }
                if at == bytes.len() { break }
            }
            prop_assert!(follower.is_between());
            let closed = kinds.iter().any(|&(_, opcode, _)| opcode == CLOSE);
            prop_assert_eq!(follower.has_closed(), closed);
        }

        #[test]
        fn any_bytes_are_followed_without_a_panic(bytes: Vec<u8>, at in 0..64usize) {
            let (mut whole, mut cut) = (Frames::default(), Frames::default());
            whole.follow(&bytes);
            let at = at.min(bytes.len());
            cut.follow(&bytes[..at]);
            cut.follow(&bytes[at..]);
            prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        }
    }
}
