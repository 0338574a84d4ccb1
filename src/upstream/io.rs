//! The I/O of a connection: the socket, and an end to writes that the other side doesn't read.
//!
//! Who closes while it is written to may have answered before: a write to it goes nowhere and is no error, the next
//! read says what there is. (hyper gives up at a failed write, and an answer to a request half sent with it.)
//!
//! `upstream::connect` and `upstream::http2` make it towards backends, `server::http2` towards visitors. It must never
//! buffer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::upstream::stall::Stall;

/// A socket whose writes don't wait for ever.
#[derive(Debug)]
pub struct UpstreamIo<S> {
    socket: S,
    write_stall: Stall,
    /// Told of every read that brought something, or the end.
    heard: Option<Arc<Notify>>,
    /// The other side has closed, and hears nothing more.
    deaf: bool,
}

impl<S> UpstreamIo<S> {
    /// Ends a write that makes no progress for `limit`.
    pub fn new(socket: S, limit: Duration) -> Self {
        Self { socket, write_stall: Stall::new(limit), heard: None, deaf: false }
    }

    /// The same, and tells of every read that brought something, or the end.
    pub fn telling(socket: S, limit: Duration, heard: Arc<Notify>) -> Self {
        Self { heard: Some(heard), ..Self::new(socket, limit) }
    }

    /// Whether the other side hears nothing more.
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// How a write went: `all` of it is written where nobody hears it.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        all: impl FnOnce() -> T,
    ) -> Poll<io::Result<T>> {
        match self.write_stall.check(cx, outcome) {
            Poll::Ready(Err(error)) if is_of_the_other_side(&error) => {
                self.deaf = true;
                Poll::Ready(Ok(all()))
            }
            outcome => outcome,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for UpstreamIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_read(cx, buf);
        if let Some(heard) = self.heard.as_ref().filter(|_| outcome.is_ready()) {
            heard.notify_one();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for UpstreamIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.written(cx, outcome, || bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = || slices.iter().map(|slice| slice.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(length()));
        }
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.written(cx, outcome, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        self.written(cx, outcome, || ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.written(cx, outcome, || ())
    }
}

fn is_of_the_other_side(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
