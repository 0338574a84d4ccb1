//! A visitor's connection of HTTP/1 as both its sides share it: the socket, what was read, what is to be written.
//!
//! `server::http1` drives it; the body of the request in flight reads from it too, and may do so in another task when
//! its answer came before its end. It must never be borrowed while somebody else's code runs.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::config::limits::{LINGER, LINGER_BYTES, MEMORY_PATIENCE_LEAST};
use crate::memory::Level;
use crate::proxy::lane::Turn;
use crate::proxy::link::Link;
use crate::proxy::refusal::Refusal;
use crate::proxy::view::Bounds;
use crate::proxy::worker::Worker;
use crate::server::http1::reading::{Break, Heard, Reader, Rest};
use crate::server::http1::writing::Writer;
use crate::server::socket::Stream;
use crate::upstream::content::Broken;

/// RFC 9110 section 15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection.
#[derive(Debug)]
pub struct Wire {
    socket: Stream,
    worker: Rc<Worker>,
    link: Rc<Link>,
    bounds: Rc<Bounds>,
    reader: Reader,
    /// Whether the visitor is to be told to go on with its body.
    tells_on: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// When a response was taken that the visitor was waited for.
    taken_at: Option<Instant>,
    /// The connection's task, where it waits for the body's end.
    waiting: Option<Waker>,
    /// Who reads the body.
    body_task: Option<Waker>,
    over: bool,
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
            tells_on: false,
            socket,
            worker,
            link,
            bounds,
            timer: None,
            taken_at: None,
            waiting: None,
            body_task: None,
            over: false,
        }
    }

    /// Waits for the next request, for as long as a visitor may be silent; not at all where the process is `closing`.
    pub fn poll_request(&mut self, closing: bool, cx: &mut Context<'_>) -> Poll<Heard> {
        let heard = self.reader.poll_head(&mut self.socket, &self.bounds.limits, cx);
        if heard.is_ready() {
            self.taken_at = None;
            return heard;
        }
        let since = self.link.idle_since().max(self.taken_at).unwrap_or_else(Instant::now);
        let timeouts = &self.bounds.timeouts;
        let (due, begun) = match self.reader.head_since() {
            Some(since) => (since + timeouts.request_head, true),
            None if self.link.is_unused() => (since + timeouts.request_head, false),
            None => (since + timeouts.keep_alive, false),
        };
        if !begun && closing {
            return Poll::Ready(Heard::Silent);
        }
        // Its next request would be refused, and what it holds is wanting.
        if !begun && self.worker.memory.level() == Level::Short && since.elapsed() >= MEMORY_PATIENCE_LEAST {
            return Poll::Ready(Heard::Gone);
        }
        ready!(self.poll_due(due, cx));
        Poll::Ready(if begun { self.reader.refuse(Refusal::HeadTimeout) } else { Heard::Gone })
    }

    /// For the next response.
    pub fn writer(&self) -> Writer {
        Writer::new(self.bounds.limits.min_rate, self.bounds.timeouts.idle_body)
    }

    /// What goes on while a request is in flight: what waits is written, and a visitor who leaves is noticed. Ready
    /// when there is nobody left to answer.
    pub fn poll_meanwhile(&mut self, writer: &mut Writer, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if writer.out.is_empty() {
            self.say(writer);
        }
        if let Poll::Ready(Err(error)) = self.poll_write(writer, cx) {
            return Poll::Ready(Err(error));
        }
        if self.stands_still() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.reader.poll_gone(&mut self.socket, cx).map(Ok)
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
        let blocked = writer.is_blocked();
        let patience = self.worker.memory.patience();
        let outcome = writer.poll(&mut self.socket, &self.link, patience, cx);
        if blocked && outcome.is_ready() {
            self.taken_at = Some(Instant::now());
        }
        outcome
    }

    /// The next of the body of the request in flight.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.over {
            return Poll::Ready(Some(Err(Broken)));
        }
        // The connection's task asks for the body, and says it then.
        self.tells_on |= self.reader.takes_continue();
        let Poll::Ready(frame) = self.reader.poll_body(&mut self.socket, self.worker.memory.level(), cx)
        else {
            self.body_task = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if !self.reader.has_body() {
            self.waiting.take().iter().for_each(Waker::wake_by_ref);
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

    /// Whether the request in flight has more of a body.
    pub fn has_body(&self) -> bool {
        self.reader.has_body()
    }

    /// How much of it is to come, where that is known.
    pub fn body_left(&self) -> Option<u64> {
        self.reader.body_left()
    }

    /// Nobody reads the rest of the body.
    pub fn abandon(&mut self) {
        if self.reader.has_body() {
            self.reader.abandon();
        }
        self.body_task = None;
        self.waiting.take().iter().for_each(Waker::wake_by_ref);
    }

    /// What is left of the body, once its answer begins.
    pub fn rest(&mut self) -> Rest {
        self.reader.rest()
    }

    /// Waits until nobody reads the body any more; says what is left of it.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Rest> {
        let rest = self.reader.rest();
        if rest == Rest::Read && !self.stands_still() {
            self.waiting = Some(cx.waker().clone());
            // Memory may no longer be short, and who reads the body isn't woken by that.
            self.body_task.take().iter().for_each(Waker::wake_by_ref);
            return Poll::Pending;
        }
        Poll::Ready(rest)
    }

    /// Nothing more is served on it.
    pub fn ends(&mut self) {
        self.over = true;
        self.body_task.take().iter().for_each(Waker::wake_by_ref);
    }

    /// Closes it, so that the last answer isn't lost to a reset: what the visitor still sends is read away first (RFC
    /// 9112 section 9.6).
    pub fn poll_close(&mut self, closing: &mut Option<Lingering>, cx: &mut Context<'_>) -> Poll<()> {
        if closing.as_ref().is_none_or(|closing| !closing.shut) {
            // An error means that there is nobody left to tell.
            let shut = Pin::new(&mut self.socket).poll_shutdown(cx).is_ready();
            if shut && self.reader.is_clean() {
                return Poll::Ready(());
            }
            closing.get_or_insert_with(Lingering::new).shut = shut;
        }
        let Some(closing) = closing else { return Poll::Ready(()) };
        closing.poll(&mut self.socket, cx)
    }

    /// The bare socket, and what was read from it and belongs to what comes after HTTP.
    pub fn into_parts(self) -> (Stream, Bytes) {
        (self.socket, self.reader.into_rest())
    }

    /// Whether a body waits here, for a backend that doesn't read or a visitor who doesn't send, for longer than memory
    /// has the patience.
    fn stands_still(&self) -> bool {
        let patience = self.worker.memory.patience();
        patience < self.bounds.timeouts.idle_body
            && self.reader.body_at().is_some_and(|since| since.elapsed() > patience)
    }

    /// Ready at `due`. The timer of an earlier wait is left standing where it fires sooner: a busy connection never
    /// resets it.
    fn poll_due(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
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
