//! The reading side of a visitor's connection: heads one at a time, and the body behind each.
//!
//! `server::http1::wire` asks it for the next. It must never read ahead of who asks but for the rest of what one read
//! brought, nor keep a buffer while nothing is in it.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::Instant;

use crate::config::limits::{HEAD_READ, Limits, SCARCE_READ, SLOW_READ};
use crate::memory::Level;
use crate::proxy::lane::Turn;
use crate::proxy::refusal::Refusal;
use crate::server::body::{Body, Next};
use crate::server::framing::{Found, Search};
use crate::server::head::{self, Head};
use crate::server::socket::Stream;

/// What was read, and where in it we are.
#[derive(Debug)]
pub struct Reader {
    read: BytesMut,
    search: Search,
    /// Since when a head has begun and isn't whole.
    head_since: Option<Instant>,
    /// What is to come of the body of the request in flight, where it has one.
    body: Option<Body>,
    /// Nobody reads the rest of the body.
    abandoned: bool,
    /// The visitor waits for `100 Continue` with its body.
    expects: bool,
    /// What came is not HTTP, or no more of it is read.
    refused: bool,
    turn: Turn,
    /// When the last bytes of the body came.
    body_at: Instant,
    /// Whether the last head came with more than [`HEAD_READ`]: the next is read together with its body.
    large: bool,
}

/// What is heard of a visitor between two exchanges.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum Heard {
    /// A request.
    Request(Head),
    /// What can't be one.
    Refused(Refusal),
    /// Nothing any more: it has left, or has said nothing for too long.
    Gone,
    /// Nothing, and the process is to end.
    Silent,
    /// Nothing for a while, since then.
    Parks(Instant),
}

/// Why no more of a body is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The visitor has left.
    Gone,
    /// A byte stands where it may not.
    Refused(Refusal),
}

/// What is left of the body of a request that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: another request may follow.
    Nothing,
    /// Somebody reads it still.
    Read,
    /// More than is here, and nobody reads it.
    Unread,
    /// All of it, and the visitor was never told to send it: it may come, or the next request instead.
    Unsaid,
}

impl Reader {
    /// Of a connection from which `read` has been read.
    pub fn new(read: BytesMut, turn: Turn) -> Self {
        // Who has begun, be it with empty lines, is told what becomes of it.
        let head_since = (!read.is_empty()).then(Instant::now);
        Self {
            read,
            search: Search::default(),
            head_since,
            body: None,
            abandoned: false,
            expects: false,
            refused: false,
            turn,
            body_at: Instant::now(),
            large: false,
        }
    }

    /// Waits for the next request's head, or the visitor's end.
    pub fn poll_head(&mut self, socket: &mut Stream, limits: &Limits, cx: &mut Context<'_>) -> Poll<Heard> {
        loop {
            while !self.read.is_empty() {
                match self.search.look(&self.read, limits) {
                    Ok(Found::Empty(length)) => self.read.advance(length),
                    Ok(Found::Head(length)) => return Poll::Ready(self.begin(length, limits)),
                    Ok(Found::More) => {
                        self.head_since.get_or_insert_with(Instant::now);
                        break;
                    }
                    Err(refusal) => return Poll::Ready(self.refuse(refusal)),
                }
            }
            match ready!(self.poll_read_some(socket, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Heard::Gone),
            }
        }
    }

    /// Nothing that comes from now on is read as HTTP.
    pub fn refuse(&mut self, refusal: Refusal) -> Heard {
        self.refused = true;
        self.head_since = None;
        Heard::Refused(refusal)
    }

    /// Since when a head has begun that isn't whole.
    pub fn head_since(&self) -> Option<Instant> {
        self.head_since
    }

    /// Whether all that came has been read: another request, or nothing, follows.
    pub fn is_clean(&self) -> bool {
        self.body.is_none() && self.read.is_empty() && !self.refused
    }

    /// Whether the request in flight has a body that isn't here yet.
    pub fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// The next of the body; the scarcer memory is, by `level`, the less a read of it brings.
    pub fn poll_body(
        &mut self,
        socket: &mut Stream,
        level: Level,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let next = body.next(&mut self.read);
            if body.is_end() {
                self.ends();
            }
            match next {
                Ok(Next::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Next::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Next::End) => return Poll::Ready(None),
                Ok(Next::More) => {}
                Err(refusal) => {
                    self.refused = true;
                    return Poll::Ready(Some(Err(Break::Refused(refusal))));
                }
            }
            match ready!(self.poll_read_body(socket, level, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Break::Gone))),
            }
        }
    }

    /// Whether a drop of the body has come, which waits for its turn now. Whoever reads the body is woken then.
    pub fn poll_drop(&mut self, socket: &Stream, cx: &mut Context<'_>) -> Poll<()> {
        if !self.turn.joins() {
            return Poll::Pending;
        }
        ready!(socket.poll_readable(cx));
        match self.turn.poll(cx) {
            Poll::Ready(()) => Poll::Pending,
            Poll::Pending => Poll::Ready(()),
        }
    }

    /// How much of the body is to come, where that is known.
    pub fn body_left(&self) -> Option<u64> {
        self.body.as_ref().map_or(Some(0), Body::left)
    }

    /// When bytes of a body came last that isn't whole.
    pub fn body_at(&self) -> Option<Instant> {
        self.body.as_ref().map(|_| self.body_at)
    }

    /// Whether the visitor waits to be told to go on, which it is to be then.
    pub fn takes_continue(&mut self) -> bool {
        std::mem::take(&mut self.expects) && self.read.is_empty()
    }

    /// Nobody reads the rest of the body.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// What is left of the body. The response begins: `100 Continue` would come too late. What is here already is
    /// dropped where nobody reads it.
    pub fn rest(&mut self) -> Rest {
        if std::mem::take(&mut self.expects) && self.body.is_some() && self.read.is_empty() {
            return Rest::Unsaid;
        }
        if self.refused && self.body.is_none() {
            return Rest::Unread;
        }
        if !self.abandoned {
            return if self.body.is_some() { Rest::Read } else { Rest::Nothing };
        }
        loop {
            let Some(body) = &mut self.body else { return Rest::Nothing };
            match body.next(&mut self.read) {
                Ok(Next::Data(_)) => {}
                Ok(Next::Trailers(_) | Next::End) => self.ends(),
                Ok(Next::More) | Err(_) => return Rest::Unread,
            }
        }
    }

    /// Waits for the visitor to leave while its request is in flight. What else it says is kept for later.
    pub fn poll_gone(&mut self, socket: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
        while !self.has_next() {
            match ready!(self.poll_read_some(socket, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Whether something comes before the visitor's end, as far as is known: a body, another request, or what is none.
    fn has_next(&self) -> bool {
        let head = || memchr::memmem::find(&self.read, b"\r\n\r\n").is_some();
        self.body.is_some() || self.refused || self.read.len() >= HEAD_READ || head()
    }

    /// Nothing of it is of use any more.
    pub fn clear(&mut self) {
        (self.read, self.body) = (BytesMut::new(), None);
    }

    /// What came and wasn't read as HTTP.
    pub fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.read).freeze()
    }

    fn begin(&mut self, length: usize, limits: &Limits) -> Heard {
        self.head_since = None;
        let whole = length == self.read.len();
        // Nothing is kept of a buffer that is used up.
        let head = if whole { std::mem::take(&mut self.read) } else { self.read.split_to(length) };
        match head::read(&head.freeze(), limits) {
            Ok(head) => {
                let body = Body::of(head.framing);
                if !body.is_end() {
                    self.body = Some(body);
                    self.body_at = Instant::now();
                }
                self.expects = head.options.expects;
                self.abandoned = false;
                Heard::Request(head)
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// The body has been read to its end.
    fn ends(&mut self) {
        self.body = None;
        self.abandoned = false;
        self.turn.ends();
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
    }

    /// Reads what there is of a head. Who says nothing costs no buffer.
    fn poll_read_some(&mut self, socket: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.large || !self.read.is_empty() {
            self.read.reserve(if self.large { HEAD_READ + SLOW_READ } else { HEAD_READ });
            let outcome = pin!(socket.read_buf(&mut self.read)).poll(cx);
            if self.large && self.read.len() <= HEAD_READ {
                // Who isn't heard to its end may be waited for, and holds no more than it has said.
                self.read = BytesMut::from(&self.read[..]);
                self.large = outcome.is_pending();
            }
            return outcome;
        }
        let mut room = [const { MaybeUninit::uninit() }; HEAD_READ];
        let mut buf = ReadBuf::uninit(&mut room);
        ready!(Pin::new(socket).poll_read(cx, &mut buf))?;
        self.read = BytesMut::from(buf.filled());
        self.large = self.read.len() == HEAD_READ;
        Poll::Ready(Ok(self.read.len()))
    }

    /// Reads of a body, in its turn.
    fn poll_read_body(
        &mut self,
        socket: &mut Stream,
        level: Level,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let most = match level {
            Level::Calm => SLOW_READ,
            Level::Tight => SCARCE_READ,
            // Every connection is woken when that changes; who waits longest goes first.
            Level::Short => return Poll::Pending,
        };
        ready!(self.turn.poll(cx));
        let left = self.body_left().and_then(|left| usize::try_from(left).ok()).unwrap_or(most);
        // By one more than there is: what isn't filled was the last, which the runtime needn't ask for then.
        let room = most.min(left.saturating_add(1));
        self.read.reserve(room);
        let Poll::Ready(outcome) = pin!(socket.read_buf(&mut (&mut self.read).limit(room))).poll(cx) else {
            self.turn.waits();
            if self.read.is_empty() {
                self.read = BytesMut::new();
            }
            return Poll::Pending;
        };
        self.turn.read(outcome.as_ref().map_or(0, |read| *read));
        self.body_at = Instant::now();
        Poll::Ready(outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;

    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;
    use crate::server::socket::Socket;

    /// A request of 8000 bytes, and then one byte of another head.
    #[tokio::test]
    async fn who_has_sent_much_and_waits_holds_no_more_than_it_has_said() {
        let (mut visitor, socket) = UnixStream::pair().unwrap();
        let (mut socket, limits) = (Stream::Clear(Socket::Unix(socket)), Limits::default());
        let mut reader = Reader::new(BytesMut::new(), Turn::new(Rc::default()));
        let request =
            [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000\r\n\r\n", &[b'x'; 8000][..]].concat();
        for number in 0..3 {
            visitor.write_all(&request).await.unwrap();
            let heard = poll_fn(|cx| reader.poll_head(&mut socket, &limits, cx)).await;
            assert!(matches!(heard, Heard::Request(_)));
            assert_eq!(reader.read.len() == 8000, number > 0, "the first is read like any other");
            while let Some(frame) = poll_fn(|cx| reader.poll_body(&mut socket, Level::Calm, cx)).await {
                assert!(frame.is_ok());
            }
            assert_eq!(reader.read.capacity(), 0);
        }
        visitor.write_all(b"G").await.unwrap();
        let heard = poll_fn(|cx| match reader.poll_head(&mut socket, &limits, cx) {
            Poll::Pending if reader.read.is_empty() => Poll::Pending,
            heard => Poll::Ready(heard.is_ready()),
        });
        assert!(!heard.await && reader.read.capacity() <= HEAD_READ + 1, "{}", reader.read.capacity());
    }
}
