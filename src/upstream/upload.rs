//! The body of a request on its way to a backend: what the visitor sends, counted, bounded and never stalled
//! for ever.
//!
//! Whoever writes to the backend polls it when that takes more, which is the whole of our backpressure.
//! `proxy::forward` makes it and reads from its [`UploadState`] how it went. It must never hold more than the
//! frame at hand, and its beginning for as long as it may have to be sent again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::limits::CONTINUE_WAIT;
use crate::headers::outgoing;
use crate::upstream::content::Content;
use crate::upstream::pace::Pace;
use crate::upstream::stall::Stall;
use crate::upstream::streams::Stream;

/// A request's body, or none.
#[derive(Debug, Default)]
pub struct Upload(Option<Handle>);

impl Upload {
    /// No body: what nearly every request has, and what may be sent again.
    pub fn none() -> Self {
        Self(None)
    }

    /// The visitor's body.
    pub fn new(body: Content, bounds: UploadBounds) -> (Self, Rc<UploadState>) {
        let state = Rc::new(UploadState::default());
        let UploadBounds { size, idle, rate, deadline } = bounds;
        let (stall, pace) = (Stall::new(idle), Pace::new(rate, idle));
        let gate = None;
        let kept = Rc::clone(&state);
        let streaming = Streaming {
            body,
            state: kept,
            left: size,
            stall,
            pace,
            deadline,
            gate,
            stream: None,
            begin: None,
            run: 0,
        };
        (Self(Some(Handle { streaming: Rc::new(RefCell::new(streaming)), run: 0 })), state)
    }

    /// Whether there is no body at all, read or unread.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// A second hold on the same body, which from now on remembers its first `most` bytes, for [`Self::rewind`].
    pub fn remembered(&self, most: usize) -> Self {
        let Some(Handle { streaming, run }) = &self.0 else { return Self::none() };
        streaming.borrow_mut().begin.get_or_insert_with(|| Begin { most, ..Begin::default() });
        Self(Some(Handle { streaming: Rc::clone(streaming), run: *run }))
    }

    /// Begins anew for another attempt; whether what was read is still there. Other holds end.
    pub fn rewind(&mut self) -> bool {
        let Some(Handle { streaming, run }) = &mut self.0 else { return true };
        let mut streaming = streaming.borrow_mut();
        streaming.run += 1;
        *run = streaming.run;
        streaming.begin.as_mut().is_some_and(Begin::rewind)
    }

    /// Remembers nothing any more, but for what has still to be read: a backend has begun with it.
    pub fn forget(&self) {
        if let Some(Handle { streaming, .. }) = &self.0 {
            let begin = &mut streaming.borrow_mut().begin;
            begin.iter_mut().for_each(|begin| begin.most = 0);
            begin.take_if(|begin| begin.is_read());
        }
    }

    /// Holds the body back until the backend says `100 Continue`, or [`CONTINUE_WAIT`] has passed
    /// (RFC 9110 section 10.1.1).
    pub fn wait_for(&mut self, go_ahead: Arc<Notify>) {
        if let Some(Handle { streaming, .. }) = &self.0 {
            streaming.borrow_mut().gate = Some(Box::pin(async move {
                // Either way the body goes.
                let _ = tokio::time::timeout(CONTINUE_WAIT, go_ahead.notified()).await;
            }));
        }
    }

    /// Keeps the place of its stream on a shared connection until it is over itself: a response may end first.
    pub fn keep(&mut self, stream: Rc<Stream>) {
        if let Some(Handle { streaming, .. }) = &self.0 {
            // Let go outside of the borrow.
            drop(streaming.borrow_mut().stream.replace(stream));
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let Some(Handle { streaming, run }) = &mut self.0 else { return Poll::Ready(None) };
        let mut streaming = streaming.borrow_mut();
        if streaming.run != *run {
            // Of an attempt that is over; another reads now.
            return Poll::Ready(Some(Err(UploadFault::Broken)));
        }
        streaming.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|handle| handle.streaming.borrow().is_end())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(handle) = &self.0 else { return SizeHint::with_exact(0) };
        let streaming = handle.streaming.borrow();
        let (live, ahead) = (streaming.body.size_hint(), streaming.ahead());
        let mut hint = SizeHint::new();
        hint.set_lower(live.lower() + ahead);
        live.upper().iter().for_each(|upper| hint.set_upper(upper + ahead));
        hint
    }
}

/// What an upload may take.
#[derive(Debug, Clone, Copy)]
pub struct UploadBounds {
    /// Bytes; nothing for any.
    pub size: Option<u64>,
    /// Without a byte.
    pub idle: Duration,
    /// Bytes a second, over the time that we wait for them.
    pub rate: u64,
    /// When the whole exchange has to be over.
    pub deadline: Instant,
}

/// How an upload goes, for the side that waits for the response.
#[derive(Debug, Default)]
pub struct UploadState {
    bytes: Cell<u64>,
    ended: Cell<Option<Instant>>,
    fault: Cell<Option<UploadFault>>,
    converses: Cell<bool>,
    awaited: Cell<bool>,
    over: Notify,
}

impl UploadState {
    /// Bytes of data that came so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// When its last byte was taken from us.
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// Waits for that.
    pub async fn ends(&self) {
        if self.ended.get().is_none() {
            self.over.notified().await;
        }
    }

    /// Whether the visitor was waited for when it was last looked at.
    pub fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    /// The answer has begun: what both say from now on is a conversation, as gRPC has them, and may be slow.
    pub fn converse(&self) {
        self.converses.set(true);
    }

    /// What ended it before its end.
    pub fn fault(&self) -> Option<UploadFault> {
        self.fault.get()
    }
}

/// What ends an upload before its end; each is the visitor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadFault {
    /// More bytes than `limits.body_size`.
    #[error("the request's body is over the limit")]
    TooLarge,
    /// No byte for `timeouts.idle_body`, fewer than `limits.min_rate`, or not whole within `timeouts.request`.
    #[error("the request's body stalled")]
    Stalled,
    /// The connection ended, or the framing is broken.
    #[error("the request's body broke off")]
    Broken,
}

/// One hold on a body; only that of the latest run reads.
#[derive(Debug)]
struct Handle {
    streaming: Rc<RefCell<Streaming>>,
    run: u32,
}

/// The beginning of a body, for as long as it may have to be sent again.
#[derive(Debug, Default)]
struct Begin {
    data: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes: usize,
    /// How many are kept.
    most: usize,
    /// Frames of `data` that the attempt at hand has read.
    read: usize,
    /// Whether it has read the trailers.
    ended: bool,
    /// Whether something had to be forgotten.
    partial: bool,
}

impl Begin {
    fn rewind(&mut self) -> bool {
        self.read = 0;
        self.ended = false;
        !self.partial
    }

    /// Whether the attempt at hand has read all of it.
    fn is_read(&self) -> bool {
        self.read == self.data.len() && (self.ended || self.trailers.is_none())
    }

    /// The next frame that an attempt before has read.
    fn next(&mut self) -> Option<Frame<Bytes>> {
        if let Some(data) = self.data.get(self.read) {
            self.read += 1;
            return Some(Frame::data(data.clone()));
        }
        let trailers = self.trailers.clone().filter(|_| !self.ended)?;
        self.ended = true;
        Some(Frame::trailers(trailers))
    }

    fn remember(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.bytes += data.len();
            self.data.push(data.clone());
            self.read += 1;
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            self.ended = true;
        }
        // Many empty or tiny frames cost more than their bytes.
        if self.bytes > self.most || self.data.len() > 1 + self.most / 256 {
            *self = Self { partial: true, ..Self::default() };
        }
    }
}

type Gate = Pin<Box<dyn Future<Output = ()>>>;

struct Streaming {
    body: Content,
    state: Rc<UploadState>,
    left: Option<u64>,
    stall: Stall,
    pace: Pace,
    deadline: Instant,
    gate: Option<Gate>,
    stream: Option<Rc<Stream>>,
    begin: Option<Begin>,
    /// Which attempt reads.
    run: u32,
}

impl Streaming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        self.state.awaited.set(false);
        if let Some(fault) = self.state.fault.get() {
            // Whoever asks again must not take what follows for the rest.
            return Poll::Ready(Some(Err(fault)));
        }
        if let Some(gate) = &mut self.gate {
            std::task::ready!(gate.as_mut().poll(cx));
            self.gate = None;
        }
        if let Some(frame) = self.begin.as_mut().and_then(Begin::next) {
            return Poll::Ready(Some(Ok(frame)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.account(frame))),
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.fail(UploadFault::Broken)))),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.state.awaited.set(true);
                self.stall.poll(cx).map(|()| Some(Err(self.fail(UploadFault::Stalled))))
            }
        }
    }

    fn account(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, UploadFault> {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let waited = self.stall.progress();
        let slow = !self.pace.moved(waited, length) && !self.state.converses.get();
        // The response may be whole already, and nothing else look at the time.
        if slow || Instant::now() > self.deadline {
            return Err(self.fail(UploadFault::Stalled));
        }
        if let Some(trailers) = frame.trailers_mut() {
            outgoing::strip_trailers(trailers);
            // Nothing can follow them, and hyper doesn't ask.
            self.end();
        }
        self.state.bytes.set(self.state.bytes.get() + length);
        if let Some(left) = &mut self.left {
            match left.checked_sub(length) {
                Some(rest) => *left = rest,
                None => return Err(self.fail(UploadFault::TooLarge)),
            }
        }
        if self.body.is_end_stream() {
            self.end();
        }
        if let Some(begin) = self.begin.as_mut().filter(|begin| !begin.partial) {
            begin.remember(&frame);
        }
        Ok(frame)
    }

    /// Bytes that an attempt before has read and this one hasn't.
    fn ahead(&self) -> u64 {
        let left = self.begin.iter().flat_map(|begin| &begin.data[begin.read..]);
        left.map(|data| data.len() as u64).sum()
    }

    /// Whether nothing is left, for the attempt at hand.
    fn is_end(&self) -> bool {
        self.begin.as_ref().is_none_or(Begin::is_read) && self.body.is_end_stream()
    }

    fn fail(&self, fault: UploadFault) -> UploadFault {
        self.state.fault.set(Some(fault));
        fault
    }

    fn end(&self) {
        self.state.ended.set(Some(Instant::now()));
        self.state.over.notify_waiters();
    }
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::upstream::content::Broken;

    /// Frames of these sizes.
    struct Frames(Vec<usize>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Broken;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
            Poll::Ready(self.0.pop().map(|size| Ok(Frame::data(vec![b'x'; size].into()))))
        }
    }

    /// Seen in review: who asked again after the frame over the limit got the one behind it, and a body with a hole.
    #[test]
    fn what_ends_an_upload_ends_it_for_good() {
        let bounds = UploadBounds {
            size: Some(10),
            idle: Duration::from_secs(9),
            rate: 0,
            deadline: Instant::now() + Duration::from_secs(9),
        };
        let content = Content::Http1(Box::new(Frames(vec![2, 6, 6])));
        let (mut upload, state) = Upload::new(content, bounds);
        let mut next = || {
            let frame = Pin::new(&mut upload).poll_frame(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Some(frame)) = frame else { return Err(None) };
            frame.map(|frame| frame.data_ref().map_or(0, Bytes::len)).map_err(Some)
        };
        assert_eq!(next(), Ok(6));
        for _ in 0..3 {
            assert_eq!(next(), Err(Some(UploadFault::TooLarge)));
        }
        assert_eq!((state.bytes(), state.ended()), (12, None));
    }
}
