//! The I/O of a downstream connection: what stands between the socket and hyper.
//!
//! Lets hyper see only whole heads that `framing` found strict, ends what stalls (a head that doesn't come, a
//! connection that idles, a visitor who doesn't read), and closes so that our last answer isn't lost to a
//! reset. `server::connection` makes one per connection. It must never copy what can be read straight into
//! hyper's buffer.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::config::limits::{
    LINGER, LINGER_BYTES, Limits, READ_BUFFER, REST, SCARCE_READ, SLOW_READ, TUNNEL_BUFFER, Timeouts,
};
use crate::memory::{Level, Pressure};
use crate::proxy::lane::Turn;
use crate::proxy::link::Link;
use crate::proxy::refusal::Refusal;
use crate::proxy::worker::Worker;
use crate::server::framing::{Framer, Passage};
use crate::upstream::io::poll_read_at_most;
use crate::upstream::pace::Pace;
use crate::upstream::stall::Stall;

mod rest;

/// What hyper reads where a head was refused, with a method that nobody sends, since records show it; the
/// handler answers it with the refusal, in order, and the connection closes.
const STAND_IN: &[u8] = b"- / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// A socket that is read strictly and never waited on for ever.
#[derive(Debug)]
pub struct Guard<S> {
    socket: S,
    link: Rc<Link>,
    memory: Pressure,
    turn: Turn,
    limits: Limits,
    timeouts: Timeouts,
    framer: Framer,
    /// Read and not yet passed on: a head in parts, or what follows the message that hyper is reading.
    pending: BytesMut,
    /// So many bytes of `pending` may pass.
    cleared: usize,
    refused: bool,
    /// A body is broken off, and hyper doesn't know yet.
    broken: Option<Refusal>,
    head_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    write_stall: Stall,
    write_pace: Pace,
    /// When the last bytes of a body came.
    body_at: Instant,
    /// Informational responses that have begun to be written.
    interim: Bytes,
    lingering: Option<Lingering>,
    closed: bool,
    /// Whether hyper has written since all it had was gone.
    writing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Guards `socket`, from which `read` was read before; the bounds are those in force when the connection was
    /// accepted.
    pub fn new(
        socket: S,
        read: BytesMut,
        link: Rc<Link>,
        worker: &Worker,
        limits: Limits,
        timeouts: Timeouts,
    ) -> Self {
        let begun = (!read.is_empty()).then(Instant::now);
        Self {
            socket,
            link,
            memory: worker.memory.clone(),
            turn: Turn::new(Rc::clone(&worker.lane)),
            limits,
            timeouts,
            framer: Framer::at_start(),
            pending: read,
            cleared: 0,
            refused: false,
            broken: None,
            head_since: begun,
            timer: None,
            write_stall: Stall::new(timeouts.idle_body),
            write_pace: Pace::new(limits.min_rate, timeouts.idle_body),
            body_at: Instant::now(),
            interim: Bytes::new(),
            lingering: None,
            closed: false,
            writing: false,
        }
    }

    /// The bare socket, and what was read from it and belongs to what comes after HTTP.
    pub fn into_inner(self) -> (S, BytesMut) {
        (self.socket, self.pending)
    }

    /// Puts the framer's question to `bytes` and notes what it means for the connection. Nothing where they
    /// are refused.
    fn passage(&mut self, bytes: &[u8]) -> Option<Passage> {
        let in_body = !matches!(self.framer, Framer::Head { .. });
        match self.framer.pass(bytes, &self.limits) {
            Ok(passage) => {
                if !in_body && matches!(passage, Passage::Pass(_)) {
                    self.head_since = None;
                    self.link.head_passed();
                }
                Some(passage)
            }
            Err(refusal) if in_body => {
                self.refused = true;
                // Told once what came before has passed: the head may have come with these bytes.
                self.broken = Some(refusal);
                self.link.refuse_body(refusal);
                None
            }
            Err(refusal) => {
                self.refuse(refusal);
                None
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refused = true;
        self.link.refuse(refusal);
        self.pending.clear();
        self.pending.extend_from_slice(STAND_IN);
        self.cleared = STAND_IN.len();
    }

    /// Reads straight into hyper's buffer and takes back what may not pass yet.
    fn poll_read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Read>> {
        let before = buf.filled().len();
        let in_body = !matches!(self.framer, Framer::Head { .. });
        if in_body && self.memory.level() == Level::Short {
            // Every connection is woken when that changes; who waits longest goes first.
            return Poll::Pending;
        }
        if in_body {
            ready!(self.poll_body(cx, buf))?;
        } else {
            ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
            self.turn.ends();
        }
        let end = buf.filled().len();
        if end == before {
            return Poll::Ready(Ok(Read::Ended));
        }
        let mut at = before;
        while at < end {
            match self.passage(&buf.filled()[at..end]) {
                Some(Passage::Pass(length)) => at += length,
                Some(Passage::Skip(length)) if at == before => {
                    self.pending.extend_from_slice(&buf.filled()[at + length..end]);
                    break;
                }
                Some(Passage::Skip(_) | Passage::More) => {
                    self.pending.extend_from_slice(&buf.filled()[at..end]);
                    break;
                }
                None => break,
            }
            if self.framer.between_messages() && at < end {
                self.pending.extend_from_slice(&buf.filled()[at..end]);
                break;
            }
        }
        buf.set_filled(at);
        Poll::Ready(Ok(if at > before { Read::Passed } else { Read::Held }))
    }

    /// Reads of a body, in its turn.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.turn.poll(cx));
        let before = buf.filled().len();
        let Poll::Ready(outcome) = poll_read_at_most(self.most(), &mut self.socket, cx, buf) else {
            self.turn.waits();
            return Poll::Pending;
        };
        self.turn.read(buf.filled().len() - before);
        self.body_at = Instant::now();
        Poll::Ready(outcome)
    }

    /// Passes on what `pending` holds; says whether anything could.
    fn pass_pending(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        while self.cleared == 0 && !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            let passage = self.passage(&pending);
            // A refusal has put its stand-in there; else what was taken goes back.
            if passage.is_some() {
                self.pending = pending;
            }
            match passage {
                Some(Passage::Pass(length)) => self.cleared = length,
                Some(Passage::Skip(length)) => self.pending.advance(length),
                Some(Passage::More) => return false,
                None => {}
            }
        }
        let passing = self.cleared.min(buf.remaining());
        buf.put_slice(&self.pending[..passing]);
        self.pending.advance(passing);
        self.cleared -= passing;
        if self.pending.is_empty() {
            self.pending = BytesMut::new();
        }
        passing > 0
    }

    fn poll_read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        self.head_since.get_or_insert_with(Instant::now);
        self.pending.reserve(READ_BUFFER.min(self.limits.head_size));
        let read = ready!(pin!(self.socket.read_buf(&mut self.pending)).poll(cx))?;
        Poll::Ready(Ok(if read == 0 { Read::Ended } else { Read::Held }))
    }

    /// Keeps what may be another protocol's, up to a bound; beyond it the visitor waits.
    fn poll_read_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let room = TUNNEL_BUFFER.saturating_sub(self.pending.len());
        if room == 0 {
            return Poll::Pending;
        }
        let read = ready!(pin!(self.socket.read_buf(&mut (&mut self.pending).limit(room))).poll(cx))?;
        Poll::Ready(Ok(if read == 0 { Read::Ended } else { Read::Held }))
    }

    /// When a visitor who sends nothing has done so for too long, and what that is; nothing while that is right.
    fn due(&self) -> Option<(Instant, Expired)> {
        if !matches!(self.framer, Framer::Head { .. }) {
            return None;
        }
        match (self.head_since, self.link.idle_since()) {
            (Some(since), _) => Some((since + self.timeouts.request_head, Expired::Head)),
            // The end of a response may still be on its way to a slow reader.
            (None, Some(_)) if self.write_stall.is_pending() => None,
            (None, Some(since)) if self.link.is_fresh() => {
                Some((since + self.timeouts.request_head, Expired::Idle))
            }
            (None, Some(since)) => Some((since + self.timeouts.keep_alive, Expired::Idle)),
            (None, None) => None,
        }
    }

    /// What to do about a visitor who sends nothing: nothing yet, or end it.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        let Some((due, expired)) = self.due() else {
            // hyper doesn't read anew when a response has gone: a timer has to look in then, so one always stands.
            let period = self.timeouts.keep_alive.min(REST);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(period)));
            while timer.as_mut().poll(cx).is_ready() {
                timer.as_mut().reset(Instant::now() + period);
            }
            return Poll::Pending;
        };
        let (due, expired) = match self.rests_at() {
            Some(rest) if rest < due => (rest, Expired::Rest),
            _ => (due, expired),
        };
        // The timer of an earlier wait is left standing where it fires sooner: a busy connection never resets
        // it.
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(expired);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Whether a body waits here, for a backend that doesn't read or a visitor who doesn't send, for longer than memory
    /// has the patience.
    fn stands_still(&self) -> bool {
        let patience = self.memory.patience();
        patience < self.timeouts.idle_body
            && !self.framer.between_messages()
            && self.body_at.elapsed() > patience
    }

    /// How much of a body a read may bring.
    fn most(&self) -> usize {
        if self.memory.level() == Level::Calm { SLOW_READ } else { SCARCE_READ }
    }

    /// Writes what has begun to be written of informational responses.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let outcome = Pin::new(&mut self.socket).poll_write(cx, &self.interim);
            match ready!(self.poll_written(cx, outcome))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The outcome of a write, or an end where the visitor takes nothing for too long, or too little.
    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        // A visitor who takes nothing gets nothing more prepared.
        if self.link.is_blocked() != outcome.is_pending() {
            self.link.blocks(outcome.is_pending());
            if outcome.is_ready() {
                // The body was told to wait, by this task.
                cx.waker().wake_by_ref();
            }
        }
        if outcome.is_pending() && self.write_stall.lasts() > self.memory.patience() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let fast = match &outcome {
            Poll::Ready(Ok(written)) => {
                let waited = self.write_stall.progress();
                self.write_pace.moved(waited, *written as u64)
            }
            Poll::Ready(Err(_)) => true,
            Poll::Pending => {
                ready!(self.write_stall.poll(cx));
                false
            }
        };
        if fast {
            return outcome;
        }
        self.link.stall(true);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads away what the visitor still sends after our last byte (RFC 9112 section 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lingering = self.lingering.get_or_insert_with(Lingering::new);
        let mut scratch = [0u8; 8 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    lingering.bytes += buf.filled().len();
                    if lingering.bytes > LINGER_BYTES {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return lingering.timer.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let held = this.link.is_held();
            if !held && !this.pending.is_empty() && this.pass_pending(buf) {
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = this.broken.take() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal.reason())));
            }
            if this.refused {
                return Poll::Pending;
            }
            let read = match this.pending.is_empty() {
                _ if held => this.poll_read_held(cx),
                true => this.poll_read_through(cx, buf),
                false => this.poll_read_more(cx),
            };
            match read {
                Poll::Ready(Ok(Read::Passed | Read::Ended)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(Read::Held)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => match ready!(this.poll_expired(cx)) {
                    Expired::Idle => return Poll::Ready(Ok(())),
                    Expired::Head => this.refuse(Refusal::HeadTimeout),
                    Expired::Rest => {
                        this.link.rest();
                        return Poll::Pending;
                    }
                },
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.writing = true;
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.poll_written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.writing = true;
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.poll_written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stands_still() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // hyper flushes when it has written all it has, so no response is cut in two.
        if self.interim.is_empty()
            && let Some(heads) = self.link.interim.take(cx)
        {
            self.interim = heads.into();
        }
        ready!(self.poll_interim(cx))?;
        // TLS alone has something to flush, and doesn't say how much.
        let outcome = Pin::new(&mut self.socket).poll_flush(cx).map_ok(|()| 0);
        self.writing = outcome.is_pending();
        self.poll_written(cx, outcome).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closed {
            return Poll::Ready(Ok(()));
        }
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
        }
        let all_read = self.framer.between_messages() && self.pending.is_empty() && !self.refused;
        if !all_read {
            ready!(self.poll_linger(cx))?;
        }
        self.closed = true;
        Poll::Ready(Ok(()))
    }
}

enum Read {
    /// Bytes are in hyper's buffer.
    Passed,
    /// Bytes came, none may pass yet.
    Held,
    /// The visitor will send no more.
    Ended,
}

enum Expired {
    Idle,
    Head,
    /// Not of the connection, but of what it costs.
    Rest,
}

#[derive(Debug)]
struct Lingering {
    timer: Pin<Box<Sleep>>,
    bytes: usize,
}

impl Lingering {
    fn new() -> Self {
        Self { timer: Box::pin(tokio::time::sleep(LINGER)), bytes: 0 }
    }
}
