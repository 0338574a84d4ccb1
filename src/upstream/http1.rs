//! One connection of HTTP/1.1 to a backend: a request goes out on it and its response comes in, in the task of whoever
//! asks.
//!
//! `upstream::connect` makes it, `upstream::pool` keeps it between exchanges. No task, channel or wake-up of its own
//! stands between socket and visitor. It must never be used for another exchange before both sides of the last are
//! whole, nor with a byte left over that nobody asked for.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::config::limits::{BUFFER_MOST, FAST_READ, HEAD_READ, HEAD_ROOM, READ_BUFFER, SLOW_READ};
use crate::upstream::http1::body::{Body, Malformed, Next};
use crate::upstream::http1::head::Head;
use crate::upstream::http1::request::Besides;
use crate::upstream::io::UpstreamIo;
use crate::upstream::out::{Framing, Out, Unlike};
use crate::upstream::prefixed::Prefixed;
use crate::upstream::socket::Socket;
use crate::upstream::unanswered::Unanswered;
use crate::upstream::upload::Upload;

pub mod body;
pub mod head;
pub mod request;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    io: UpstreamIo<Socket>,
    /// Read and not yet taken.
    read: BytesMut,
    /// Bytes of its last response: the next is read by as many.
    usual: usize,
    /// How much a read brings at most.
    most: usize,
    /// Fields of a response.
    fields: usize,
    out: Out,
    /// Whether any of the request's body has been taken.
    begun: bool,
    /// Whether any of the request is the backend's.
    reached: bool,
    sending: Sending,
    body: Body,
    /// Whether the response says that it is the last.
    last: bool,
}

/// A connection after a 101: what the backend has said already comes first.
pub type Bare = Prefixed<UpstreamIo<Socket>>;

/// The request's side.
#[derive(Debug)]
enum Sending {
    /// Its body is still to come, or some of it.
    Body { upload: Upload, framing: Framing },
    /// All of it waits in `out`.
    Rest,
    /// It is the kernel's.
    Done,
}

/// Why there is no answer, or not all of one.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The connection ended before.
    #[error("the backend closed the connection")]
    Closed,
    /// What came is no HTTP/1.1.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It said too much before its response.
    #[error("no end of informational responses")]
    Endless,
    /// The request's body broke off; its state says why.
    #[error("the request's body broke off")]
    Upload,
    /// The request's body isn't as long as it says.
    #[error(transparent)]
    Unlike(#[from] Unlike),
    /// The socket failed, or nothing was taken for too long.
    #[error("the backend's connection broke: {0}")]
    Io(#[from] io::Error),
}

impl Connection {
    /// On a socket that nothing was said on; responses have at most so many `fields`.
    pub fn new(io: UpstreamIo<Socket>, fields: usize) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            usual: 0,
            most: SLOW_READ,
            fields,
            out: Out::default(),
            begun: false,
            reached: false,
            sending: Sending::Done,
            body: Body::Length(0),
            last: false,
        }
    }

    /// Sends `request`, with what it says besides, and waits for the response's head. `heard` is told of what is said
    /// before, and says whether to go on.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(
        &mut self,
        request: Request<Upload>,
        besides: Besides<'_>,
        mut heard: impl FnMut(&Head) -> bool,
    ) -> Result<Response<()>, Unanswered> {
        let framing;
        (self.out, framing) = request::write(&request, besides);
        let (parts, upload) = request.into_parts();
        (self.begun, self.reached, self.last) = (false, false, true);
        let empty = upload.is_none();
        self.sending = match upload.is_end_stream() {
            true => Sending::Rest,
            false => Sending::Body { upload, framing },
        };
        let to_head = parts.method == Method::HEAD;
        let outcome = poll_fn(|cx| self.poll_answer(cx, to_head, &mut heard)).await;
        outcome.map_err(|fault| {
            let (unsent, upload) = (!self.reached && !self.begun, self.whole(empty));
            let request = upload.map(|upload| Request::from_parts(parts, upload));
            Unanswered { unsent: unsent && request.is_some(), request, cause: fault.into() }
        })
    }

    /// The next of the response's body. What is left of the request goes out meanwhile.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Poll::Ready(Err(fault)) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(fault)));
        }
        loop {
            match self.body.next(&mut self.read) {
                Ok(Next::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Next::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Next::End) => return Poll::Ready(None),
                Ok(Next::More) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            match ready!(self.poll_read(cx, self.most)) {
                Ok(0) if self.body.close() => return Poll::Ready(None),
                Ok(0) => return Poll::Ready(Some(Err(Fault::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Sends of the request what can be sent. What goes wrong is told with the next of the response.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_send(cx);
    }

    /// Sends what is left of the request; says whether all of it has gone.
    pub async fn finish(&mut self) -> bool {
        poll_fn(|cx| self.poll_send(cx)).await.is_ok()
    }

    /// Whether the response's body has ended.
    pub fn is_end_stream(&self) -> bool {
        self.body.is_end()
    }

    /// How much of it is to come.
    pub fn size_hint(&self) -> SizeHint {
        self.body.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// From now on until it rests a read brings at most so many bytes, at least those of a head.
    pub fn reads(&mut self, most: usize) {
        self.most = most;
    }

    /// Whether the exchange is over to its last byte both ways, and another may follow. Nothing is held for it.
    pub fn rests(&mut self) -> bool {
        let rests = matches!(self.sending, Sending::Done)
            && self.body.is_end()
            && !self.last
            && self.read.is_empty()
            && !self.io.is_deaf();
        if rests {
            self.read = BytesMut::new();
            self.out = Out::default();
            self.most = SLOW_READ;
        }
        rests
    }

    /// Whether the backend has closed it or spoken unasked, as far as the runtime has heard.
    pub fn is_stale(&mut self) -> bool {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.io).poll_read(&mut cx, &mut read).is_ready()
    }

    /// What it is besides HTTP, after a 101.
    pub fn into_bare(self) -> Bare {
        Prefixed::new(self.read.freeze(), self.io)
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        to_head: bool,
        heard: &mut impl FnMut(&Head) -> bool,
    ) -> Poll<Result<Response<()>, Fault>> {
        if let Poll::Ready(Err(fault)) = self.poll_send(cx) {
            return Poll::Ready(Err(fault));
        }
        loop {
            if let Some(head) = head::parse(&mut self.read, self.fields, to_head)? {
                let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
                if !head.status.is_informational() || switches {
                    return Poll::Ready(Ok(self.begin(head)));
                }
                if !heard(&head) {
                    return Poll::Ready(Err(Fault::Endless));
                }
                continue;
            }
            if self.read.len() >= BUFFER_MOST {
                return Poll::Ready(Err(Malformed("a head without end").into()));
            }
            if ready!(self.poll_read_head(cx))? == 0 {
                return Poll::Ready(Err(Fault::Closed));
            }
        }
    }

    fn begin(&mut self, head: Head) -> Response<()> {
        let Head { status, version, headers, body, last } = head;
        // What has no length is as large as what of it came with the head.
        let length = body.left().map_or(self.read.len(), |left| usize::try_from(left).unwrap_or(FAST_READ));
        self.usual = length.saturating_add(HEAD_ROOM);
        (self.body, self.last) = (body, last);
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = headers;
        response
    }

    /// Ready when the request has gone.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while !matches!(self.sending, Sending::Done) {
            let mut waits = false;
            if self.out.takes_more() {
                match self.poll_upload(cx) {
                    Poll::Ready(Ok(true)) => continue,
                    Poll::Ready(outcome) => drop(outcome?),
                    Poll::Pending => waits = true,
                }
            }
            ready!(self.poll_out(cx))?;
            match self.sending {
                Sending::Body { .. } if waits => {
                    // What has come of the body goes, though more is to come.
                    ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                    return Poll::Pending;
                }
                Sending::Body { .. } | Sending::Done => {}
                Sending::Rest => {
                    ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                    self.sending = Sending::Done;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next of the request's body, if there is to be more; says whether.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        let Sending::Body { upload, framing } = &mut self.sending else { return Poll::Ready(Ok(false)) };
        let frame = ready!(Pin::new(&mut *upload).poll_frame(cx));
        self.begun = true;
        let ended = match frame.transpose().map_err(|_| Fault::Upload)?.map(Frame::into_data) {
            Some(Ok(data)) => {
                framing.data(&mut self.out, data)?;
                upload.is_end_stream().then_some(None)
            }
            Some(Err(frame)) => Some(frame.into_trailers().ok()),
            None => Some(None),
        };
        if let Some(trailers) = ended {
            framing.end(&mut self.out, trailers.as_ref())?;
            self.sending = Sending::Rest;
        }
        Poll::Ready(Ok(true))
    }

    /// Writes what waits.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let io = Pin::new(&mut self.io);
            let written = match self.out.whole() {
                Some(bytes) => ready!(io.poll_write(cx, bytes))?,
                None => ready!(io.poll_write_vectored(cx, &self.out.slices()))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.reached |= !self.io.is_deaf();
            self.out.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads of a head, and what of the body comes with it. While it is waited for, and for small responses, that costs
    /// no buffer but what they have.
    fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.usual > HEAD_READ || !self.read.is_empty() {
            let room = if self.read.is_empty() { self.usual.min(self.most) } else { READ_BUFFER };
            let outcome = self.poll_read(cx, room);
            if self.read.is_empty() {
                self.read = BytesMut::new();
            }
            return outcome;
        }
        let mut room = [const { MaybeUninit::uninit() }; HEAD_READ];
        let mut buf = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        self.read = BytesMut::from(buf.filled());
        Poll::Ready(Ok(self.read.len()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        self.read.reserve(most);
        pin!(self.io.read_buf(&mut (&mut self.read).limit(most))).poll(cx)
    }

    /// The body of a request for another connection, where it was `empty`, or nothing has gone.
    fn whole(&mut self, empty: bool) -> Option<Upload> {
        if empty {
            return Some(Upload::none());
        }
        if self.reached || self.begun {
            return None;
        }
        match std::mem::replace(&mut self.sending, Sending::Done) {
            Sending::Body { upload, .. } => Some(upload),
            Sending::Rest | Sending::Done => Some(Upload::none()),
        }
    }
}
