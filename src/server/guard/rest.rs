//! A connection at rest: all is answered, the visitor is silent, and hyper's half with its buffers is gone.
//!
//! `server::connection` waits here between two conversations. It must never lose a byte, nor hold a buffer while there
//! are none.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::config::limits::REST;
use crate::memory::Level;
use crate::server::guard::Guard;

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// The same, before which `read` was passed on and not taken.
    pub fn with(mut self, read: &[u8]) -> Self {
        if !read.is_empty() {
            let rest = std::mem::replace(&mut self.pending, read.into());
            self.pending.extend_from_slice(&rest);
            self.cleared += read.len();
        }
        self
    }

    /// Waits for the visitor's next word; ready with whether there is one. It may have left, or idled for too long.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut scratch = [0; 1024];
        let mut buf = ReadBuf::new(&mut scratch);
        let outcome = match self.pending.is_empty() {
            true => Pin::new(&mut self.socket).poll_read(cx, &mut buf),
            false => Poll::Ready(Ok(())),
        };
        if outcome.is_pending() {
            // Its next request would be refused, and what it holds is wanting.
            if self.memory.level() != Level::Short {
                ready!(self.poll_expired(cx));
            }
            return Poll::Ready(false);
        }
        self.pending.extend_from_slice(buf.filled());
        let spoke = !self.pending.is_empty();
        if spoke {
            self.link.speak();
        }
        Poll::Ready(spoke)
    }

    /// When the connection comes to rest, if the visitor says nothing: everything that was asked is answered, the
    /// answers have gone, and nothing has come since.
    pub(super) fn rests_at(&self) -> Option<Instant> {
        let quiet = !self.writing && self.interim.is_empty() && !self.link.interim.is_waiting();
        let idle = self.link.idle_since().filter(|_| quiet && self.framer.between_messages());
        let resting = self.link.rests() || self.link.is_held() || self.refused || self.lingering.is_some();
        let read = self.head_since.is_some() || !self.pending.is_empty() || self.broken.is_some();
        idle.filter(|_| !resting && !read).map(|since| since + REST)
    }
}
