//! The socket of a connection of HTTP/2, read so many frames at a time.
//!
//! `server::http2` reads through it. Frames cost next to nothing to send, and without a pause one visitor who floods us
//! with them would have the worker for itself. It must never hold back or change a byte, nor pause large bodies, whose
//! frames are few.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::limits::Http2;

/// Bytes before the first frame: the preface (RFC 9113 section 3.4).
const PREFACE: usize = 24;

/// A socket that pauses after [`Http2::TURN`] frames.
#[derive(Debug)]
pub struct Turns<S> {
    io: S,
    left: usize,
    frames: Frames,
}

impl<S> Turns<S> {
    /// Of a socket from which nothing has been read.
    pub fn new(io: S) -> Self {
        Self { io, left: Http2::TURN, frames: Frames { gap: PREFACE, length: 0, known: 0 } }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Turns<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            self.left = Http2::TURN;
            // A waker alone would have us run dozens of times more before the runtime looks at other sockets.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.io).poll_read(cx, buf);
        let begun = self.frames.begun(&buf.filled()[before..]);
        self.left = if outcome.is_pending() { Http2::TURN } else { self.left.saturating_sub(begun) };
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Turns<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where in the row of frames the reader is (RFC 9113 section 4.1).
#[derive(Debug)]
struct Frames {
    /// Bytes before the next frame.
    gap: usize,
    /// Its length, as far as it is known,
    length: usize,
    /// which is so many bytes of three.
    known: u8,
}

impl Frames {
    /// How many frames begin in these next bytes.
    fn begun(&mut self, mut bytes: &[u8]) -> usize {
        let mut begun = 0;
        loop {
            let passed = self.gap.min(bytes.len());
            self.gap -= passed;
            bytes = &bytes[passed..];
            let Some((first, rest)) = bytes.split_first() else { return begun };
            bytes = rest;
            self.length = self.length << 8 | usize::from(*first);
            self.known += 1;
            if self.known == 3 {
                // Kind, flags and stream stand before what the length counts.
                *self = Self { gap: 6 + self.length, length: 0, known: 0 };
                begun += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_the_bytes_are_cut() {
        let mut bytes = vec![0; PREFACE];
        for length in [0_usize, 1, 8, 255, 256, 16_384, 0, 0] {
            bytes.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
            bytes.extend(vec![7; 6 + length]);
        }
        for size in [1, 2, 3, 7, 9, 24, 1000, bytes.len()] {
            let mut frames = Turns::new(()).frames;
            let begun: usize = bytes.chunks(size).map(|chunk| frames.begun(chunk)).sum();
            assert_eq!((begun, frames.gap, frames.known), (8, 0, 0), "by {size}");
        }
    }
}
