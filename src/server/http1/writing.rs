//! The writing side of a visitor's connection: what waits to be written, and an end to waiting for who doesn't read.
//!
//! `server::http1::wire` puts responses into it. It must never write slower than the visitor reads, nor wait for ever
//! for one who doesn't.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::proxy::link::Link;
use crate::server::socket::Stream;
use crate::upstream::out::Out;
use crate::upstream::stall::Stall;

/// What is on its way to the visitor.
#[derive(Debug)]
pub struct Writer {
    /// What waits.
    pub out: Out,
    stall: Stall,
    /// Whether something was written that may not have left us: TLS keeps what its socket doesn't take.
    unflushed: bool,
}

impl Writer {
    /// To a visitor who takes something within `idle`.
    pub fn new(idle: Duration) -> Self {
        Self { out: Out::default(), stall: Stall::new(idle), unflushed: false }
    }

    /// Writes all that waits. `patience` is for how long nothing may be taken while memory is scarce; `slow` is told
    /// how long was waited for how many bytes, and says whether that is too slow.
    pub fn poll(
        &mut self,
        socket: &mut Stream,
        link: &Link,
        patience: Duration,
        slow: &mut impl FnMut(Duration, u64) -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let outcome = match self.out.whole() {
                Some(bytes) => Pin::new(&mut *socket).poll_write(cx, bytes),
                None => Pin::new(&mut *socket).poll_write_vectored(cx, &self.out.slices()),
            };
            match ready!(self.written(link, patience, slow, cx, outcome))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.out.advance(written),
            }
            self.unflushed = true;
        }
        if self.unflushed {
            // It doesn't say how much has gone.
            let outcome = Pin::new(socket).poll_flush(cx).map_ok(|()| 0);
            ready!(self.written(link, patience, slow, cx, outcome))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether something waits for the visitor to take it.
    pub fn is_blocked(&self) -> bool {
        self.stall.is_pending()
    }

    /// The outcome of a write, or an end where the visitor takes nothing for too long, or too little.
    fn written(
        &mut self,
        link: &Link,
        patience: Duration,
        slow: &mut impl FnMut(Duration, u64) -> bool,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let fast = match &outcome {
            Poll::Ready(Ok(written)) => {
                let waited = self.stall.progress();
                !slow(waited, *written as u64)
            }
            Poll::Ready(Err(_)) => true,
            Poll::Pending => {
                link.waits();
                if self.stall.lasts() > patience {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                ready!(self.stall.poll(cx));
                false
            }
        };
        if fast {
            return outcome;
        }
        link.stall(true);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
