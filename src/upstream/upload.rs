//! The body of a request on its way to a backend: what the visitor sends, counted, bounded and never stalled
//! for ever.
//!
//! hyper's client polls it when the backend takes more, which is the whole of our backpressure.
//! `proxy::forward` makes it and reads from its [`UploadState`] how it went. It must never hold more than the
//! frame at hand.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::limits::CONTINUE_WAIT;
use crate::headers::outgoing;
use crate::upstream::stall::Stall;
use crate::upstream::streams::Stream;

/// A request's body, or none.
#[derive(Debug, Default)]
pub struct Upload(Option<Box<Streaming>>);

impl Upload {
    /// No body: what nearly every request has, and what may be sent again.
    pub fn none() -> Self {
        Self(None)
    }

    /// The visitor's body.
    pub fn new(body: Incoming, bounds: UploadBounds) -> (Self, Rc<UploadState>) {
        let state = Rc::new(UploadState::default());
        let UploadBounds { size, idle, deadline } = bounds;
        let stall = Stall::new(idle);
        let gate = None;
        let kept = Rc::clone(&state);
        let streaming = Streaming { body, state: kept, left: size, stall, deadline, gate, stream: None };
        (Self(Some(Box::new(streaming))), state)
    }

    /// Holds the body back until the backend says `100 Continue`, or [`CONTINUE_WAIT`] has passed
    /// (RFC 9110 section 10.1.1).
    pub fn wait_for(&mut self, go_ahead: Arc<Notify>) {
        if let Some(streaming) = &mut self.0 {
            streaming.gate = Some(Box::pin(async move {
                // Either way the body goes.
                let _ = tokio::time::timeout(CONTINUE_WAIT, go_ahead.notified()).await;
            }));
        }
    }

    /// Keeps the place of its stream on a shared connection until it is over itself: a response may end first.
    pub fn keep(&mut self, stream: Rc<Stream>) {
        if let Some(streaming) = &mut self.0 {
            streaming.stream = Some(stream);
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
        match &mut self.0 {
            Some(streaming) => streaming.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|streaming| streaming.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |streaming| streaming.body.size_hint())
    }
}

/// What an upload may take.
#[derive(Debug, Clone, Copy)]
pub struct UploadBounds {
    /// Bytes; nothing for any.
    pub size: Option<u64>,
    /// Without a byte.
    pub idle: Duration,
    /// When the whole exchange has to be over.
    pub deadline: Instant,
}

/// How an upload goes, for the side that waits for the response.
#[derive(Debug, Default)]
pub struct UploadState {
    bytes: Cell<u64>,
    ended: Cell<Option<Instant>>,
    fault: Cell<Option<UploadFault>>,
}

impl UploadState {
    /// Bytes of data that came so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// When hyper took its last byte from us.
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get()
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
    /// No byte for `timeouts.idle_body`, or not whole within `timeouts.request`.
    #[error("the request's body stalled")]
    Stalled,
    /// The connection ended, or the framing is broken.
    #[error("the request's body broke off")]
    Broken,
}

type Gate = Pin<Box<dyn Future<Output = ()>>>;

struct Streaming {
    body: Incoming,
    state: Rc<UploadState>,
    left: Option<u64>,
    stall: Stall,
    deadline: Instant,
    gate: Option<Gate>,
    stream: Option<Rc<Stream>>,
}

impl Streaming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        if let Some(gate) = &mut self.gate {
            std::task::ready!(gate.as_mut().poll(cx));
            self.gate = None;
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.account(frame))),
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.fail(UploadFault::Broken)))),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => self.stall.poll(cx).map(|()| Some(Err(self.fail(UploadFault::Stalled)))),
        }
    }

    fn account(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, UploadFault> {
        self.stall.progress();
        // The response may be whole already, and nothing else look at the time.
        if Instant::now() > self.deadline {
            return Err(self.fail(UploadFault::Stalled));
        }
        if let Some(trailers) = frame.trailers_mut() {
            outgoing::strip_trailers(trailers);
            // Nothing can follow them, and hyper doesn't ask.
            self.end();
        }
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
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
        Ok(frame)
    }

    fn fail(&self, fault: UploadFault) -> UploadFault {
        self.state.fault.set(Some(fault));
        fault
    }

    fn end(&self) {
        self.state.ended.set(Some(Instant::now()));
    }
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("state", &self.state).finish_non_exhaustive()
    }
}
