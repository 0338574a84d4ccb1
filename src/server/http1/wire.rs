//! A visitor's connection of HTTP/1 as both its sides share it: the socket, what was read, what is to be written.
//!
//! `server::http1` drives it; the body of the request in flight reads from it too, and may do so in another task when
//! its answer came before its end. It must never be borrowed while somebody else's code runs.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::config::limits::{LINGER, LINGER_BYTES, MEMORY_PATIENCE_LEAST, PARKED_AFTER, PARKED_SWEEP};
use crate::memory::Level;
use crate::proxy::downstream::Downstream;
use crate::proxy::lane::Turn;
use crate::proxy::link::Link;
use crate::proxy::refusal::Refusal;
use crate::proxy::view::Bounds;
use crate::proxy::worker::Worker;
use crate::server::http1::due::Due;
use crate::server::http1::parked::Parked;
use crate::server::http1::reading::{Break, Heard, Reader, Rest};
use crate::server::http1::writing::Writer;
use crate::server::socket::Stream;
use crate::upstream::content::Broken;
use crate::upstream::pace::Pace;

/// RFC 9110 section 15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection.
#[derive(Debug)]
pub struct Wire {
    /// Nothing once it is over.
    socket: Option<Stream>,
    worker: Rc<Worker>,
    link: Rc<Link>,
    bounds: Rc<Bounds>,
    reader: Reader,
    /// Of the last request that has a body which may be read: whoever holds another's reads nothing.
    number: u32,
    /// Whether the visitor is to be told to go on with its body.
    tells_on: bool,
    /// Whether the body wasn't read for want of memory.
    held: bool,
    /// Whether the connection's task waits for the body's end.
    waits: bool,
    due: Due,
    /// When its socket came to this thread's runtime.
    woken: Instant,
    /// How fast a visitor takes what it had to be waited for with.
    pace: Option<Box<Pace>>,
    /// When a response was taken that the visitor was waited for.
    taken_at: Option<Instant>,
    /// The connection's task.
    task: Option<Waker>,
    /// Who reads the body, where that is another.
    body_task: Option<Waker>,
}

impl Wire {
    /// Of a visitor from whom `read` has been read.
    pub fn new(
        socket: Stream,
        read: BytesMut,
        worker: Rc<Worker>,
        link: Rc<Link>,
        bounds: Rc<Bounds>,
    ) -> Self {
        Self {
            reader: Reader::new(read, Turn::new(Rc::clone(&worker.lane))),
            socket: Some(socket),
            worker,
            link,
            bounds,
            number: 0,
            tells_on: false,
            held: false,
            waits: false,
            due: Due::default(),
            woken: Instant::now(),
            pace: None,
            taken_at: None,
            task: None,
            body_task: None,
        }
    }

    /// Waits for the next request, for as long as a visitor may be silent; not at all where the process is `closing`.
    pub fn poll_request(&mut self, closing: bool, cx: &mut Context<'_>) -> Poll<Heard> {
        self.task.get_or_insert_with(|| cx.waker().clone());
        let Some(socket) = &mut self.socket else { return Poll::Ready(Heard::Gone) };
        let can_park = socket.can_rest() && !self.link.is_unused();
        let heard = self.reader.poll_head(socket, &self.bounds.limits, cx);
        if heard.is_ready() {
            self.taken_at = None;
            return heard;
        }
        let since = self.link.idle_since().max(self.taken_at).unwrap_or_else(Instant::now);
        let timeouts = &self.bounds.timeouts;
        let (due, begun) = match self.reader.head_since() {
            Some(since) => (since + timeouts.request_head, true),
            None if self.link.is_unused() => (since + timeouts.request_head, false),
            // Of what has woken it the runtime hears only after a first look.
            None => ((since + timeouts.keep_alive).max(self.woken + PARKED_SWEEP), false),
        };
        if !begun && closing {
            return Poll::Ready(Heard::Silent);
        }
        // Its next request would be refused, and what it holds is wanting.
        if !begun
            && self.worker.memory.level() == Level::Short
            && since.max(self.woken).elapsed() >= MEMORY_PATIENCE_LEAST
        {
            return Poll::Ready(Heard::Gone);
        }
        if can_park && !begun {
            let parks = since.max(self.woken) + PARKED_AFTER.min(timeouts.keep_alive / 16);
            if parks < due {
                return self.due.poll(parks, cx).map(|()| Heard::Parks(since));
            }
        }
        ready!(self.due.poll(due, cx));
        Poll::Ready(if begun { self.reader.refuse(Refusal::HeadTimeout) } else { Heard::Gone })
    }

    /// For the next response.
    pub fn writer(&self) -> Writer {
        Writer::new(self.bounds.timeouts.idle_body)
    }

    /// The number of the request that was heard last, where it has a body.
    pub fn begin_body(&mut self) -> Option<u32> {
        if !self.reader.has_body() {
            return None;
        }
        self.number = self.number.wrapping_add(1);
        Some(self.number)
    }

    /// What goes on while a request is in flight: what waits is written, and a visitor who leaves is noticed. Ready
    /// when there is nobody left to answer.
    pub fn poll_meanwhile(&mut self, writer: &mut Writer, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if writer.out.is_empty() {
                self.say(writer);
            }
            let written = self.poll_write(writer, cx)?;
            if written.is_pending() || !(self.tells_on || self.link.interim.is_waiting()) {
                break;
            }
        }
        if self.stands_still() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.resume();
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
        self.reader.poll_gone(socket, cx).map(Ok)
    }

    /// Puts what is said before the response behind what waits.
    pub fn say(&mut self, writer: &mut Writer) {
        if std::mem::take(&mut self.tells_on) {
            writer.out.put_slice(CONTINUE);
        }
        if self.link.interim.is_waiting() {
            writer.out.put_slice(&self.link.interim.take());
        }
    }

    /// Writes all that waits.
    pub fn poll_write(&mut self, writer: &mut Writer, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = &mut self.socket else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let (blocked, patience) = (writer.is_blocked(), self.worker.memory.patience());
        let mut slow = |waited: Duration, written: u64| {
            if waited.is_zero() && self.pace.is_none() {
                return false;
            }
            let (rate, window) = (self.bounds.limits.min_rate, self.bounds.timeouts.idle_body);
            let pace = self.pace.get_or_insert_with(|| Box::new(Pace::new(rate, window)));
            !pace.moved(waited, written)
        };
        let outcome = writer.poll(socket, &self.link, patience, &mut slow, cx);
        if blocked && outcome.is_ready() {
            self.taken_at = Some(Instant::now());
        }
        outcome
    }

    /// Whether this task was woken by a drop of a body, as far as one can tell, and will be again when that has its
    /// turn. Thousands of drops come at a time, and each would have a whole exchange looked at.
    pub fn is_dripped_on(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(socket) = self.socket.as_ref().filter(|_| self.body_task.is_none()) else { return false };
        self.reader.poll_drop(socket, cx).is_ready()
    }

    /// The next of the body of request `number`.
    pub fn poll_body(
        &mut self,
        number: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(socket) = self.socket.as_mut().filter(|_| number == self.number) else {
            return Poll::Ready(Some(Err(Broken)));
        };
        // A stream of HTTP/2 reads it in a task of its own, and so does an upload that outlives its answer.
        let other = self.task.as_ref().filter(|task| !task.will_wake(cx.waker()));
        if self.reader.takes_continue() {
            // The connection's task says it.
            self.tells_on = true;
            other.iter().for_each(|task| task.wake_by_ref());
        }
        let level = self.worker.memory.level();
        let Poll::Ready(frame) = self.reader.poll_body(socket, level, cx) else {
            self.held = level == Level::Short;
            self.body_task = other.map(|_| cx.waker().clone());
            return Poll::Pending;
        };
        if !self.reader.has_body() {
            other.iter().for_each(|task| task.wake_by_ref());
        }
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|cause| {
                if let Break::Refused(refusal) = cause {
                    self.link.refuse_body(refusal);
                }
                Broken
            })
        }))
    }

    /// Whether request `number` has more of a body.
    pub fn has_body(&self, number: u32) -> bool {
        number == self.number && self.reader.has_body()
    }

    /// How much of it is to come, where that is known.
    pub fn body_left(&self, number: u32) -> Option<u64> {
        if number == self.number { self.reader.body_left() } else { Some(0) }
    }

    /// Nobody reads the rest of the body of request `number`.
    pub fn abandon(&mut self, number: u32) {
        if !self.has_body(number) {
            return;
        }
        self.reader.abandon();
        self.body_task = None;
        if std::mem::take(&mut self.waits) {
            self.task.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Whoever still reads a body reads no more.
    pub fn cut_body(&mut self) {
        self.abandon(self.number);
        self.number = self.number.wrapping_add(1);
        self.body_task.take().iter().for_each(Waker::wake_by_ref);
    }

    /// What is left of the body, once its answer begins.
    pub fn rest(&mut self) -> Rest {
        self.reader.rest()
    }

    /// Waits until nobody reads the body any more, for as long as a request may take; says what is left of it.
    pub fn poll_rest(&mut self, due: &mut Option<Instant>, cx: &mut Context<'_>) -> Poll<Rest> {
        let rest = self.reader.rest();
        if rest == Rest::Read && !self.stands_still() {
            self.waits = true;
            self.resume();
            let due = *due.get_or_insert_with(|| Instant::now() + self.bounds.timeouts.request);
            ready!(self.due.poll(due, cx));
        }
        self.waits = false;
        Poll::Ready(rest)
    }

    /// Nothing more is served on it; a body cut short can't pass for a whole one by the connection's end where it
    /// `breaks`.
    pub fn ends(&mut self, breaks: bool) {
        if let Some(socket) = self.socket.take().filter(|_| breaks) {
            socket.reset();
        }
        self.cut_body();
        self.reader.clear();
    }

    /// Closes it, so that the last answer isn't lost to a reset: what the visitor still sends is read away first (RFC
    /// 9112 section 9.6).
    pub fn poll_close(&mut self, closing: &mut Option<Lingering>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(()) };
        if closing.as_ref().is_none_or(|closing| !closing.shut) {
            // An error means that there is nobody left to tell.
            let shut = Pin::new(&mut *socket).poll_shutdown(cx).is_ready();
            if shut && self.reader.is_clean() {
                return Poll::Ready(());
            }
            closing.get_or_insert_with(Lingering::new).shut = shut;
        }
        let Some(closing) = closing else { return Poll::Ready(()) };
        closing.poll(socket, cx)
    }

    /// The bare socket, and what was read from it and belongs to what comes after HTTP.
    pub fn take(&mut self) -> Option<(Stream, Bytes)> {
        let socket = self.socket.take()?;
        Some((socket, self.reader.take_rest()))
    }

    /// Its socket without the rest, which its next byte brings back.
    pub fn park(&mut self, downstream: &Downstream, since: Instant) -> Option<Parked> {
        let (socket, _nothing) = self.take()?;
        Parked::of(socket, downstream, Rc::clone(&self.bounds), since)
    }

    /// Memory is no longer short: who reads the body in another task isn't woken by that.
    fn resume(&mut self) {
        if self.held && self.worker.memory.level() != Level::Short {
            self.held = false;
            self.body_task.take().iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Whether a body waits here, for a backend that doesn't read or a visitor who doesn't send, for longer than memory
    /// has the patience.
    fn stands_still(&self) -> bool {
        let patience = self.worker.memory.patience();
        patience < self.bounds.timeouts.idle_body
            && self.reader.body_at().is_some_and(|since| since.elapsed() > patience)
    }
}

/// The end of a connection whose visitor may still be sending.
#[derive(Debug)]
pub struct Lingering {
    /// Whether our last byte has gone.
    shut: bool,
    timer: Pin<Box<Sleep>>,
    bytes: usize,
}

impl Lingering {
    fn new() -> Self {
        Self { shut: false, timer: Box::pin(tokio::time::sleep(LINGER)), bytes: 0 }
    }

    fn poll(&mut self, socket: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 8 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.bytes += buf.filled().len();
                    if self.bytes > LINGER_BYTES {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.timer.as_mut().poll(cx),
            }
        }
    }
}
