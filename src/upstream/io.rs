//! The I/O of a connection: the socket, and an end to writes that the other side doesn't read.
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
}

impl<S> UpstreamIo<S> {
    /// Ends a write that makes no progress for `limit`.
    pub fn new(socket: S, limit: Duration) -> Self {
        Self { socket, write_stall: Stall::new(limit), heard: None }
    }

    /// The same, and tells of every read that brought something, or the end.
    pub fn telling(socket: S, limit: Duration, heard: Arc<Notify>) -> Self {
        Self { heard: Some(heard), ..Self::new(socket, limit) }
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
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.write_stall.check(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.write_stall.check(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        self.write_stall.check(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.write_stall.check(cx, outcome)
    }
}
