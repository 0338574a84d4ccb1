//! One visitor's connection of HTTP/2: hyper's server with the bounds that it leaves open (RFC 9113 section 10.5).
//!
//! `server::connection` calls it. It must never let a visitor who answers pings and does nothing else hold a
//! connection, a stream or a backend for ever.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::config::limits::{Http2, Limits, Timeouts};
use crate::proxy::downstream::Downstream;
use crate::proxy::handle::{Asked, handle};
use crate::proxy::link::Link;
use crate::proxy::refusal::Refusal;
use crate::proxy::tunnel::{self, Begin};
use crate::proxy::view::Bounds;
use crate::proxy::worker::Worker;
use crate::server::drain::Closing;
use crate::server::turns::Turns;
use crate::server::worker::Witness;
use crate::upstream::content::Content;
use crate::upstream::io::UpstreamIo;

/// Serves the connection to its end.
pub async fn serve<S>(
    io: S,
    downstream: Downstream,
    bounds: &Bounds,
    closing: Rc<Closing>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let &Bounds { limits, timeouts } = bounds;
    let link = Rc::clone(&downstream.link);
    let switching = Rc::new(Cell::new(false));
    let begin = begin(Rc::clone(&switching), Rc::clone(&closing));
    let downstream = Rc::new(downstream.with_streams(begin));
    let streams = Streams {
        worker: Rc::clone(&downstream.worker),
        link: Rc::clone(&link),
        switching: Rc::clone(&switching),
    };
    let service = service_fn(move |request| {
        // A stream that was reset before its answer has switched nothing; the next is one of its own.
        switching.set(false);
        // In a box: hyper, we and the runtime hand it on a dozen times, and it is 5 KB.
        let answered = Box::pin(handle(Rc::clone(&downstream), asked(request)));
        async { Ok::<_, Infallible>(answered.await) }
    });
    let io = TokioIo::new(Turns::new(UpstreamIo::new(io, timeouts.idle_body)));
    let mut connection = pin!(builder(&limits, streams).serve_connection(io, service));
    let mut idle = pin!(tokio::time::sleep(timeouts.request_head));
    let mut waiting = None;
    let mut told: Option<Instant> = None;
    poll_fn(|cx| {
        waiting.get_or_insert_with(|| closing.wake(cx.waker()));
        let mut over = closing.moves();
        while idle.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let due = due(&link, &timeouts, told).unwrap_or(now + timeouts.request_head);
            if now < due {
                idle.as_mut().reset(due);
            } else if told.is_some() {
                // Who was told to leave and stays: no pong to hyper's farewell, or no window for what is left.
                return Poll::Ready(Ok(()));
            } else {
                over = true;
                break;
            }
        }
        if over && told.is_none() {
            let now = Instant::now();
            told = Some(now);
            idle.as_mut().reset(due(&link, &timeouts, told).unwrap_or(now + timeouts.request_head));
            // The new deadline has to know whom to wake.
            let _ = idle.as_mut().poll(cx);
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await
}

fn asked(mut request: Request<Incoming>) -> Asked {
    let stream = tunnel::stream_of(&mut request);
    let (parts, body) = request.into_parts();
    Asked { parts, content: Content::Http2(body), stream, refused: None }
}

/// Runs a tunnel in a task of its own, beside the other streams. hyper's part of it is spawned in the same moment, and
/// has no deadline of ours: the tunnel has.
fn begin(switching: Rc<Cell<bool>>, closing: Rc<Closing>) -> Begin {
    Begin::by(move |tunnel, stream| {
        switching.set(true);
        let closing = Rc::clone(&closing);
        tokio::task::spawn_local(async move {
            // The visitor may be gone before the answer.
            let Ok(visitor) = stream.await else { return };
            let mut run = pin!(tunnel.run(TokioIo::new(visitor), Bytes::new(), || closing.leaves()));
            let mut waiting = None;
            poll_fn(|cx| {
                waiting.get_or_insert_with(|| closing.wake(cx.waker()));
                run.as_mut().poll(cx)
            })
            .await;
        });
    })
}

/// When a connection on which nothing is in flight has to be over: first it is `told`, then it is ended.
fn due(link: &Link, timeouts: &Timeouts, told: Option<Instant>) -> Option<Instant> {
    let since = link.idle_since()?;
    Some(match (link.is_unused(), told) {
        (true, None) => since + timeouts.request_head,
        (false, None) => since + timeouts.keep_alive,
        (true, Some(told)) => told + timeouts.request_head,
        // The end of an answer may be on its way yet, though its exchange is over.
        (false, Some(told)) => since.max(told) + timeouts.idle_body,
    })
}

fn builder(limits: &Limits, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .keep_alive_interval(Http2::PING)
        .keep_alive_timeout(Http2::PONG)
        .max_concurrent_streams(Http2::STREAMS)
        .initial_stream_window_size(Http2::STREAM_WINDOW)
        .initial_connection_window_size(Http2::CONNECTION_WINDOW)
        .max_send_buf_size(Http2::SEND_BUFFER)
        .max_header_list_size(Http2::HEADERS.min(u32::try_from(limits.head_size).unwrap_or(u32::MAX)))
        .max_pending_accept_reset_streams(Http2::PENDING_RESETS)
        .max_local_error_reset_streams(Http2::LOCAL_RESETS);
    builder
}

/// Runs streams on the worker's own thread, each for a bounded time.
#[derive(Debug, Clone)]
struct Streams {
    worker: Rc<Worker>,
    link: Rc<Link>,
    /// Whether what is spawned next belongs to a tunnel.
    switching: Rc<Cell<bool>>,
}

impl<F: Future + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let witness = Witness(Rc::clone(&self.worker));
        if self.switching.take() {
            tokio::task::spawn_local(async move {
                stream.await;
                drop(witness);
            });
            return;
        }
        let stream = self.bounded(stream);
        tokio::task::spawn_local(async move {
            stream.await;
            drop(witness);
        });
    }
}

impl Streams {
    /// How long nothing may happen on a stream that begins now, and how long it may take as a whole: a little more than
    /// its exchange allows itself.
    fn bounds(&self) -> (Duration, Duration) {
        let snapshot = self.worker.snapshot();
        let timeouts = &snapshot.config.timeouts;
        let margin = Http2::MARGIN.min(timeouts.idle_body);
        let longest = snapshot.backends.iter().map(|backend| backend.timeouts.first_byte).max();
        (longest.unwrap_or_default().max(timeouts.idle_body) + margin, timeouts.request + margin)
    }

    /// The stream, dropped and so reset where nothing has happened on it for too long: hyper waits for ever for a
    /// visitor who opens no window, or opens it byte by byte.
    fn bounded<F: Future>(&self, stream: F) -> impl Future<Output = ()> + use<F> {
        let (patience, whole) = self.bounds();
        let (worker, link) = (Rc::clone(&self.worker), Rc::clone(&self.link));
        async move {
            let mut watch = Watch::new(patience, whole);
            let cut = {
                let mut stream = pin!(stream);
                let mut timer = pin!(tokio::time::sleep_until(watch.due()));
                poll_fn(|cx| {
                    let mut timed = false;
                    while timer.as_mut().poll(cx).is_ready() {
                        if Instant::now() >= watch.due() {
                            // What is dropped next says in its record whose fault that is.
                            link.stall(watch.is_answering());
                            return Poll::Ready(watch.is_answering());
                        }
                        timed = true;
                        timer.as_mut().reset(watch.due());
                    }
                    let before = link.reading.asked();
                    let outcome = stream.as_mut().poll(cx).map(|_| false);
                    watch.polled(timed, link.reading.asked() != before, link.reading.allowed());
                    outcome
                })
                .await
            };
            if cut {
                link.stall(false);
                worker.metrics.rejected(Refusal::SlowReader.reason());
            }
        }
    }
}

/// When a stream has to be over on which nothing happens.
struct Watch {
    patience: Duration,
    deadline: Instant,
    /// When something happened.
    since: Instant,
    /// When its answer was last asked for more, and how long what it gave then may take.
    taken: Option<(Instant, Duration)>,
}

impl Watch {
    fn new(patience: Duration, whole: Duration) -> Self {
        let since = Instant::now();
        Self { patience, deadline: since + whole, since, taken: None }
    }

    fn is_answering(&self) -> bool {
        self.taken.is_some()
    }

    fn due(&self) -> Instant {
        let taken = self.taken.map(|(since, allowed)| since + self.patience.max(allowed));
        (self.since + self.patience).min(taken.unwrap_or(self.deadline)).min(self.deadline)
    }

    /// The stream was polled, by the timer alone or for something new, and its answer was `asked` for more or not.
    fn polled(&mut self, timed: bool, asked: bool, allowed: Duration) {
        let now = Instant::now();
        if asked {
            self.taken = Some((now, allowed));
        }
        // Woken by the timer alone, the stream has nothing new to say.
        if !timed {
            self.since = now;
        }
    }
}
