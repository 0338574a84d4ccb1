//! One visitor's connection of HTTP/1: a request is read, handled and answered, and then the next, in one task.
//!
//! `server::connection` calls it. What is read passes `server::framing`, `server::head` and `server::body`, which read
//! by the letter; what is written was understood before. It must never begin a request before the last is over to its
//! last byte both ways, nor cost a connection that is silent more than its place.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::header::DATE;
use http::request::Parts;
use http::{Method, Request, Response, Version};
use http_body::{Body as _, Frame};

use crate::proxy::answer::Answer;
use crate::proxy::downstream::Downstream;
use crate::proxy::handle::{Asked, handle};
use crate::proxy::refusal::Refusal;
use crate::proxy::tunnel::Tunnel;
use crate::proxy::view::Bounds;
use crate::server::drain::Closing;
use crate::server::head::{Head, Options};
use crate::server::http1::content::OnWire;
use crate::server::http1::parked::Parked;
use crate::server::http1::reading::{Heard, Rest};
use crate::server::http1::response::{To, begin};
use crate::server::http1::wire::Wire;
use crate::server::http1::writing::Writer;
use crate::server::socket::Stream;
use crate::upstream::content::Content;
use crate::upstream::out::{Framing, put};

pub mod content;
pub mod due;
pub mod parked;
pub mod reading;
pub mod response;
pub mod wire;
pub mod writing;

/// What both sides of an exchange share.
type Shared = Rc<RefCell<Wire>>;

/// A connection that is to be served, of which `read` has been read.
pub fn connection(
    socket: Stream,
    read: BytesMut,
    downstream: Downstream,
    bounds: Rc<Bounds>,
    closing: Rc<Closing>,
) -> impl Future<Output = io::Result<Option<Parked>>> {
    let (worker, link) = (Rc::clone(&downstream.worker), Rc::clone(&downstream.link));
    let wire = Rc::new(RefCell::new(Wire::new(socket, read, worker, link, bounds)));
    serve(wire, Rc::new(downstream), closing)
}

/// Serves the connection to its end, or until it has been silent for a while. Its future is as large as its arguments:
/// one is held for each connection that rests for less.
///
/// # Errors
/// When the visitor's socket broke, or it took too long with what was written to it.
async fn serve(wire: Shared, downstream: Rc<Downstream>, closing: Rc<Closing>) -> io::Result<Option<Parked>> {
    let mut waiting = None;
    loop {
        let mut asked = false;
        let heard = poll_fn(|cx| {
            waiting.get_or_insert_with(|| closing.wake(cx.waker()));
            let heard = ready!(wire.borrow_mut().poll_request(closing.has_begun(), cx));
            if matches!(heard, Heard::Silent) && !std::mem::replace(&mut asked, true) {
                // A request may have come that only the kernel knows of: the runtime asks it now.
                return pin!(tokio::task::yield_now()).poll(cx).map(|()| Heard::Silent);
            }
            Poll::Ready(heard)
        });
        let asked = match heard.await {
            Heard::Request(head) => request(head, &wire),
            Heard::Refused(refusal) => refused(refusal),
            Heard::Gone | Heard::Silent => break,
            Heard::Parks(since) => return Ok(wire.borrow_mut().park(&downstream, since)),
        };
        // In a box, which a connection has while it has something in flight.
        match Box::pin(exchange(&wire, &downstream, asked)).await {
            Outcome::GoesOn => {}
            Outcome::Ends => break,
            Outcome::Breaks { outcome, cuts } => {
                wire.borrow_mut().ends(cuts);
                return outcome.map(|()| None);
            }
            Outcome::Switches(tunnel) => {
                let taken = wire.borrow_mut().take();
                let Some((socket, early)) = taken else { return Ok(None) };
                // Whoever is woken by the drain is this task.
                Box::pin(tunnel.run(socket, early, || closing.leaves())).await;
                return Ok(None);
            }
        }
    }
    wire.borrow_mut().cut_body();
    let mut closing = None;
    poll_fn(|cx| wire.borrow_mut().poll_close(&mut closing, cx)).await;
    wire.borrow_mut().ends(false);
    Ok(None)
}

/// What comes of the connection after an exchange.
enum Outcome {
    /// It waits for the next.
    GoesOn,
    /// All was said, and the last of it that it ends.
    Ends,
    /// It ends in the middle.
    Breaks {
        /// Whether that is an error.
        outcome: io::Result<()>,
        /// Whether an end of the connection would pass for that of the answer.
        cuts: bool,
    },
    /// It is a tunnel's.
    Switches(Box<Tunnel>),
}

/// How its visitor wishes to be answered.
#[derive(Debug, Clone, Copy)]
struct Wish {
    to: To,
    /// Whether fields may follow the body.
    trailers: bool,
}

fn request(head: Head, wire: &Shared) -> (Asked, Wish) {
    let Head { method, target, version, headers, options, .. } = head;
    let Options { closes, keeps_alive, trailers, .. } = options;
    let closes = closes || (version == Version::HTTP_10 && !keeps_alive);
    let wish = Wish { to: To { version, head: method == Method::HEAD, closes }, trailers };
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri, parts.version, parts.headers) = (method, target, version, headers);
    let number = wire.borrow_mut().begin_body();
    let content =
        number.map_or(Content::None, |number| Content::Http1(Box::new(OnWire::new(Rc::clone(wire), number))));
    (Asked { parts, content, stream: None, refused: None }, wish)
}

/// What stands for a request that couldn't be read: its method is one that nobody sends, since records show it.
fn refused(refusal: Refusal) -> (Asked, Wish) {
    let wish = Wish { to: To { version: Version::HTTP_11, head: false, closes: true }, trailers: false };
    let (mut parts, ()): (Parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(b"-").expect("it is a token");
    (Asked { parts, content: Content::None, stream: None, refused: Some(refusal) }, wish)
}

/// One request and its response.
async fn exchange(wire: &Shared, downstream: &Rc<Downstream>, asked: (Asked, Wish)) -> Outcome {
    let (asked, wish) = asked;
    let mut writer = wire.borrow().writer();
    let response = {
        let mut handling = pin!(handle(Rc::clone(downstream), asked));
        let response = poll_fn(|cx| {
            if wire.borrow_mut().is_dripped_on(cx) {
                return Poll::Pending;
            }
            if let Poll::Ready(response) = handling.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            wire.borrow_mut().poll_meanwhile(&mut writer, cx).map(Err)
        });
        match response.await {
            Ok(response) => response,
            Err(outcome) => return Outcome::Breaks { outcome, cuts: false },
        }
    };
    let mut writing = Writing::begin(wire, downstream, writer, response, wish);
    let outcome = poll_fn(|cx| writing.poll(wire, cx)).await;
    let Writing { tunnel, last, unsaid, framing, .. } = writing;
    if let Err(outcome) = outcome {
        return Outcome::Breaks { outcome, cuts: framing == Some(Framing::UntilClose) };
    }
    if let Some(tunnel) = tunnel {
        return Outcome::Switches(tunnel);
    }
    let mut due = None;
    let rest = match unsaid {
        true => Rest::Unsaid,
        false => poll_fn(|cx| wire.borrow_mut().poll_rest(&mut due, cx)).await,
    };
    match rest {
        Rest::Nothing if !last => Outcome::GoesOn,
        Rest::Nothing | Rest::Read | Rest::Unread | Rest::Unsaid => Outcome::Ends,
    }
}

/// A response on its way out.
struct Writing {
    writer: Writer,
    /// Until its last byte has come.
    answer: Option<Answer>,
    /// Nothing where the response has no body.
    framing: Option<Framing>,
    trailers: bool,
    tunnel: Option<Box<Tunnel>>,
    /// Whether the connection ends with it.
    last: bool,
    /// Whether the body of the request was never asked for.
    unsaid: bool,
}

impl Writing {
    fn begin(
        wire: &Shared,
        downstream: &Downstream,
        mut writer: Writer,
        response: Response<Answer>,
        wish: Wish,
    ) -> Self {
        let (parts, answer) = response.into_parts();
        let mut wire = wire.borrow_mut();
        wire.say(&mut writer);
        let Wish { mut to, trailers } = wish;
        if answer.is_ours() {
            // Whoever would send the body on has nobody to send it to.
            wire.cut_body();
        }
        let rest = wire.rest();
        let unsaid = rest == Rest::Unsaid;
        to.closes |= unsaid || rest == Rest::Unread;
        let date = |head: &mut BytesMut| {
            downstream.worker.date.show(|date| put(head, DATE.as_str(), date.as_bytes()));
        };
        let begun = begin(&parts, answer.size_hint().exact(), to, date);
        if writer.out.is_empty() {
            writer.out = begun.head.into();
        } else {
            writer.out.put_slice(&begun.head);
        }
        let trailers = trailers && begun.framing == Some(Framing::Chunked);
        let mut writing = Self {
            writer,
            answer: None,
            framing: begun.framing,
            trailers,
            tunnel: None,
            last: begun.last,
            unsaid,
        };
        if answer.is_tunnel() {
            writing.tunnel = answer.into_tunnel();
        } else {
            writing.answer = Some(answer);
        }
        writing
    }

    /// Writes the response to its end. The error is how the connection breaks.
    fn poll(&mut self, wire: &Shared, cx: &mut Context<'_>) -> Poll<Result<(), io::Result<()>>> {
        loop {
            let fed = self.feed(cx).map_err(|Broken| Ok(()))?;
            match wire.borrow_mut().poll_write(&mut self.writer, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Err(error))),
                Poll::Pending => break,
            }
            if self.answer.is_none() {
                return Poll::Ready(Ok(()));
            }
            if fed.is_pending() {
                return wire.borrow_mut().poll_meanwhile(&mut self.writer, cx).map(Err);
            }
        }
        if let Some(answer) = &mut self.answer {
            answer.poll_upload(cx);
        }
        wire.borrow_mut().poll_meanwhile(&mut self.writer, cx).map(Err)
    }

    /// Takes of the answer what there is and fits.
    fn feed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while let Some(answer) = &mut self.answer {
            if self.framing.is_none() && answer.is_ours() || answer.is_end_stream() {
                self.end(None)?;
                break;
            }
            if !self.writer.out.takes_more() {
                break;
            }
            match ready!(Pin::new(&mut *answer).poll_frame(cx))
                .transpose()
                .map_err(|_| Broken)?
                .map(Frame::into_data)
            {
                Some(Ok(data)) => {
                    if let Some(framing) = &mut self.framing {
                        framing.data(&mut self.writer.out, data).map_err(|_| Broken)?;
                    }
                }
                Some(Err(frame)) => self.end(Some(frame))?,
                None => self.end(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, trailers: Option<Frame<bytes::Bytes>>) -> Result<(), Broken> {
        // What it leaves behind is counted before its last byte goes.
        self.answer = None;
        let Some(framing) = self.framing else { return Ok(()) };
        let trailers = trailers.filter(|_| self.trailers).and_then(|frame| frame.into_trailers().ok());
        framing.end(&mut self.writer.out, trailers.as_ref()).map_err(|_| Broken)
    }
}

/// There is no more of the answer, and its head said otherwise.
struct Broken;
