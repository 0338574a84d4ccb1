//! Copies bytes both ways between a visitor and a backend until both have said their last.
//!
//! `tunnel` polls it. Nothing is read that the other side doesn't take, and an idle relay holds no buffer. It must
//! never change a byte: on a drain it adds a close frame between two frames of the backend's, and drops what follows.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::config::limits::{TUNNEL_BUFFER, TUNNEL_CLOSE, Timeouts};
use crate::proxy::websocket::{CLOSE_RESTART, Frames};
use crate::upstream::stall::Stall;

/// Two connections that are one.
#[derive(Debug)]
pub struct Relay<V, B> {
    visitor: V,
    backend: B,
    up: Flow,
    down: Flow,
    farewell: Farewell,
    /// Without a byte either way.
    idle: Stall,
    /// The same once one side has said its last.
    half_open: Stall,
    drains: bool,
    /// The visitor's time to answer a close frame.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<V, B> Relay<V, B>
where
    V: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Between these two; `early` is what the visitor has sent already.
    pub fn new(visitor: V, backend: B, early: Bytes, timeouts: &Timeouts) -> Self {
        let flow = |left| Flow::new(left, Stall::new(timeouts.idle_body));
        Self {
            visitor,
            backend,
            up: flow(early),
            down: flow(Bytes::new()),
            farewell: Farewell::default(),
            idle: Stall::new(timeouts.tunnel_idle),
            half_open: Stall::new(timeouts.idle_body),
            drains: false,
            closing: None,
        }
    }

    /// Moves what can be moved; ready when it is over. `drains` is asked each time.
    pub fn poll(&mut self, cx: &mut Context<'_>, drains: bool) -> Poll<End> {
        if drains && !self.drains {
            self.drains = true;
            self.down.insert(&self.farewell.begin());
        }
        let before = self.passed();
        let farewell = &mut self.farewell;
        let down = self.down.poll(cx, &mut self.backend, &mut self.visitor, |bytes| farewell.sift(bytes));
        let up = self.up.poll(cx, &mut self.visitor, &mut self.backend, |_| Sifted::All);
        if let Some(end) = end(up, down) {
            return Poll::Ready(end);
        }
        if self.drains && self.farewell.is_said() && self.poll_closing(cx).is_ready() {
            return Poll::Ready(End::Idle);
        }
        if self.passed() != before {
            self.idle.progress();
            self.half_open.progress();
        }
        let half = up.is_ready() || down.is_ready();
        let idle = if half { &mut self.half_open } else { &mut self.idle };
        idle.poll(cx).map(|()| End::Idle)
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closing = self.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(TUNNEL_CLOSE)));
        closing.as_mut().poll(cx)
    }

    /// Bytes that have gone to the backend, and to the visitor.
    pub fn passed(&self) -> (u64, u64) {
        (self.up.passed, self.down.passed)
    }

    /// Whether it was asked to end by a drain.
    pub fn drains(&self) -> bool {
        self.drains
    }
}

/// How a relay ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides have said their last, and each has heard the other's.
    Whole,
    /// The visitor's connection broke, or it doesn't read.
    VisitorBroke,
    /// The backend's connection broke.
    BackendBroke,
    /// The backend doesn't read.
    BackendStalled,
    /// Nothing came for too long.
    Idle,
}

/// One direction.
#[derive(Debug)]
struct Flow {
    /// Read and not yet written; empty while the reader keeps up.
    left: Bytes,
    ended: bool,
    shut: bool,
    /// Written, perhaps into a buffer of TLS.
    unflushed: bool,
    stall: Stall,
    passed: u64,
}

impl Flow {
    fn new(left: Bytes, stall: Stall) -> Self {
        Self { left, ended: false, shut: false, unflushed: false, stall, passed: 0 }
    }

    /// Puts `bytes` behind what waits to be written.
    fn insert(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && !self.ended {
            self.left = [&self.left, bytes].concat().into();
        }
    }

    /// Ready when all that will ever come has been passed on, the end with it.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        mut sift: impl FnMut(&[u8]) -> Sifted,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.shut {
            while !self.left.is_empty() {
                let written =
                    ready!(self.poll_write(cx, to, None)).map_err(|error| Broken::of_writing(&error))?;
                self.left.advance(written);
            }
            if self.ended {
                let outcome = Pin::new(&mut *to).poll_shutdown(cx);
                ready!(self.stall.check(cx, outcome)).map_err(|error| Broken::of_writing(&error))?;
                self.shut = true;
                break;
            }
            let mut scratch = [MaybeUninit::uninit(); TUNNEL_BUFFER];
            let mut read = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Pending => return self.poll_flush(cx, to),
                Poll::Ready(Ok(())) => {}
                // TLS without its close: frames have ends of their own.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Source)),
            }
            self.ended = read.filled().is_empty();
            self.take(cx, to, read.filled(), &mut sift)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what was just read, straight from where it was read to; keeps what doesn't go.
    fn take<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
        bytes: &[u8],
        sift: &mut impl FnMut(&[u8]) -> Sifted,
    ) -> Result<(), Broken> {
        match sift(bytes) {
            Sifted::All if bytes.is_empty() => {}
            Sifted::All => match self.poll_write(cx, to, Some(bytes)) {
                Poll::Ready(Ok(written)) => self.left = Bytes::copy_from_slice(&bytes[written..]),
                Poll::Ready(Err(error)) => return Err(Broken::of_writing(&error)),
                Poll::Pending => self.left = Bytes::copy_from_slice(bytes),
            },
            Sifted::Last(length) => self.left = [&bytes[..length], &CLOSE_RESTART].concat().into(),
            Sifted::None => {}
        }
        Ok(())
    }

    /// Writes `bytes`, or what is left.
    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
        bytes: Option<&[u8]>,
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(to).poll_write(cx, bytes.unwrap_or(&self.left));
        let written = ready!(self.stall.check(cx, outcome))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.passed += written as u64;
        self.unflushed = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<Result<(), Broken>> {
        if self.unflushed {
            let outcome = Pin::new(to).poll_flush(cx);
            ready!(self.stall.check(cx, outcome)).map_err(|error| Broken::of_writing(&error))?;
            self.unflushed = false;
        }
        Poll::Pending
    }
}

/// Which end of a direction broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Source,
    Sink,
    /// It doesn't read.
    SinkStalled,
}

impl Broken {
    fn of_writing(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut { Self::SinkStalled } else { Self::Sink }
    }
}

/// What of the bytes at hand goes to the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sifted {
    All,
    /// So many, then the close frame.
    Last(usize),
    None,
}

/// Where a drain's close frame goes.
#[derive(Debug, Default)]
struct Farewell {
    frames: Frames,
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// With the end of the frame at hand.
    Due,
    Said,
}

impl Farewell {
    /// The close frame, where it may go at once. A backend that has closed by itself has said enough.
    fn begin(&mut self) -> Vec<u8> {
        self.stage = if self.frames.is_between() { Stage::Said } else { Stage::Due };
        if self.stage == Stage::Due {
            return Vec::new();
        }
        if self.frames.has_closed() { Vec::new() } else { CLOSE_RESTART.to_vec() }
    }

    /// Whether the backend's side has had its close frame, one way or the other.
    fn is_said(&self) -> bool {
        self.stage == Stage::Said || self.frames.has_closed()
    }

    fn sift(&mut self, bytes: &[u8]) -> Sifted {
        match self.stage {
            Stage::Open => {
                self.frames.follow(bytes);
                Sifted::All
            }
            Stage::Due => {
                let taken = self.frames.follow_frame(bytes);
                match (self.frames.is_between(), self.frames.has_closed()) {
                    (false, _) | (true, true) => Sifted::All,
                    (true, false) => {
                        self.stage = Stage::Said;
                        Sifted::Last(taken)
                    }
                }
            }
            Stage::Said => Sifted::None,
        }
    }
}

/// How it ends, if it does now. Once one side has said its last, whatever breaks is its end: peers that are done close
/// without a last word of TCP's or TLS's as often as not.
fn end(up: Poll<Result<(), Broken>>, down: Poll<Result<(), Broken>>) -> Option<End> {
    Some(match (up, down) {
        (Poll::Pending, Poll::Pending | Poll::Ready(Ok(()))) | (Poll::Ready(Ok(())), Poll::Pending) => {
            return None;
        }
        (Poll::Ready(Ok(())), Poll::Ready(_)) | (Poll::Ready(Err(_)), Poll::Ready(Ok(()))) => End::Whole,
        (Poll::Ready(Err(broken)), _) => match broken {
            Broken::Source => End::VisitorBroke,
            Broken::Sink => End::BackendBroke,
            Broken::SinkStalled => End::BackendStalled,
        },
        (Poll::Pending, Poll::Ready(Err(broken))) => match broken {
            Broken::Source => End::BackendBroke,
            Broken::Sink | Broken::SinkStalled => End::VisitorBroke,
        },
    })
}
