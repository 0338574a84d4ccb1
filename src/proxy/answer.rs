//! The body of a response on its way to the visitor: the backend's, or a few bytes of our own.
//!
//! The visitor's connection polls it when the visitor takes more, which is the whole of our backpressure. It carries
//! the exchange, which ends with it, and the lease, which goes back to its pool with the last byte. It must
//! never hold more than the frame at hand.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::headers::hop_by_hop;
use crate::proxy::error::{Error, Failure};
use crate::proxy::exchange::Exchange;
use crate::proxy::reading::Reader;
use crate::proxy::refusal::Refusal;
use crate::proxy::tunnel::Tunnel;
use crate::upstream::lease::Lease;
use crate::upstream::pace::Pace;
use crate::upstream::stall::Stall;

/// A response's body with the exchange it ends.
#[derive(Debug)]
pub struct Answer {
    /// Nothing behind a 101: a tunnel has it then.
    exchange: Option<Box<Exchange>>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Backend(Box<Download>),
    Own(Bytes),
    /// What goes on behind a 101.
    Tunnel(Box<Tunnel>),
    /// It broke off; the visitor hears of it when what came before has left.
    Broken(Error),
}

impl Answer {
    /// The backend's body, which `lease` brings.
    pub fn of_backend(exchange: Box<Exchange>, lease: Lease) -> Self {
        let idle = exchange.view.snapshot.config.timeouts.idle_body;
        let deadline = exchange.deadline();
        // A connection of HTTP/1 sees itself how fast its visitor reads.
        let rate = exchange.view.snapshot.config.limits.min_rate;
        let reader = (!exchange.is_http1()).then(|| Reader::new(Pace::new(rate, idle)));
        let download = Download { lease: Some(lease), stall: Stall::new(idle), deadline, reader };
        let mut answer = Self { exchange: Some(exchange), source: Source::Backend(Box::new(download)) };
        answer.end_if_whole();
        answer
    }

    /// A body of our own.
    pub fn of_ours(mut exchange: Box<Exchange>, body: Bytes) -> Self {
        exchange.complete();
        Self { exchange: Some(exchange), source: Source::Own(body) }
    }

    /// What follows a 101.
    pub fn of_tunnel(tunnel: Box<Tunnel>) -> Self {
        Self { exchange: None, source: Source::Tunnel(tunnel) }
    }

    /// Whether it is a tunnel's.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.source, Source::Tunnel(_))
    }

    /// Whether it is a body of our own, which is there at once.
    pub fn is_ours(&self) -> bool {
        matches!(self.source, Source::Own(_))
    }

    /// The tunnel, where it is to be one.
    pub fn into_tunnel(self) -> Option<Box<Tunnel>> {
        match self.source {
            Source::Tunnel(tunnel) => Some(tunnel),
            Source::Backend(_) | Source::Own(_) | Source::Broken(_) => None,
        }
    }

    /// What is left of the request goes on to the backend, though the visitor takes nothing of the answer: it may be
    /// one who sends all before it reads.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Source::Backend(download) = &mut self.source
            && let Some(lease) = &mut download.lease
        {
            lease.poll_send(cx);
        }
    }

    /// What follows a tunnel's agreement on a stream: nothing of HTTP.
    pub fn of_nothing() -> Self {
        Self { exchange: None, source: Source::Own(Bytes::new()) }
    }

    /// With the last byte the exchange is complete, and the connection can carry the next: if the request
    /// went out to its own last byte, too. Nobody asks for a frame after it.
    fn end_if_whole(&mut self) {
        if let Source::Backend(download) = &self.source
            && download.is_end_stream()
        {
            self.end();
        }
    }

    fn end(&mut self) {
        let (Source::Backend(download), Some(exchange)) = (&mut self.source, &mut self.exchange) else {
            return;
        };
        exchange.complete();
        let uploaded = exchange.upload().is_none_or(|upload| upload.ended().is_some());
        if let Some(lease) = download.lease.take() {
            if uploaded { lease.give_back() } else { lease.finish() }
        }
    }

    fn account(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(trailers) = frame.trailers_mut() {
            hop_by_hop::strip_trailers(trailers);
            // Nothing can follow them, and nobody asks.
            self.end();
            return frame;
        }
        if let Some(exchange) = &mut self.exchange {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            exchange.sent(bytes);
            if let Source::Backend(download) = &mut self.source {
                download.pace(exchange, bytes);
            }
        }
        self.end_if_whole();
        frame
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(exchange) = &mut this.exchange else { return Poll::Ready(None) };
        let download = match &mut this.source {
            Source::Backend(download) => {
                exchange.downstream.link.reading.asks();
                if !download.reader.as_mut().is_none_or(Reader::asks) {
                    let error = Error::Refused(Refusal::SlowReader);
                    exchange.broke_off(error);
                    return Poll::Ready(Some(Err(error)));
                }
                download
            }
            Source::Own(body) if body.is_empty() => return Poll::Ready(None),
            Source::Own(body) => {
                let body = std::mem::take(body);
                exchange.sent(body.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(body))));
            }
            Source::Tunnel(_) => return Poll::Ready(None),
            Source::Broken(error) => return Poll::Ready(Some(Err(*error))),
        };
        match std::task::ready!(download.poll(cx)) {
            Ok(Some(frame)) => {
                let given = frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(reader) = &mut download.reader {
                    exchange.downstream.link.reading.allow(reader.given(given));
                }
                Poll::Ready(Some(Ok(this.account(frame))))
            }
            // A chunked body's end shows here alone.
            Ok(None) => {
                this.end();
                Poll::Ready(None)
            }
            Err(failure) => {
                let error = exchange.upload_fault().unwrap_or(Error::Backend(failure));
                exchange.broke_off(error);
                // What is written before has to go, the head above all; a browser takes a connection that
                // ends without a byte for one that was stale, and sends even a POST again. So it gets a turn to write.
                this.source = Source::Broken(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Backend(download) => download.is_end_stream(),
            Source::Own(body) => body.is_empty(),
            Source::Tunnel(_) => true,
            Source::Broken(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Backend(download) => download.size_hint(),
            Source::Own(body) => SizeHint::with_exact(body.len() as u64),
            Source::Tunnel(_) => SizeHint::with_exact(0),
            Source::Broken(_) => SizeHint::default(),
        }
    }
}

#[derive(Debug)]
struct Download {
    /// Until its last byte has come.
    lease: Option<Lease>,
    stall: Stall,
    deadline: Instant,
    reader: Option<Reader>,
}

impl Download {
    /// Has the next reads bring as much as the visitor is fast and memory there is.
    fn pace(&mut self, exchange: &Exchange, bytes: u64) {
        let Some(lease) = &mut self.lease else { return };
        lease.reads(exchange.takes(bytes));
    }

    fn is_end_stream(&self) -> bool {
        self.lease.as_ref().is_none_or(Lease::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.lease.as_ref().map_or(SizeHint::with_exact(0), Lease::size_hint)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Failure>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(Ok(None)) };
        match lease.poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) if Instant::now() > self.deadline => {
                Poll::Ready(Err(Failure::RequestTimeout))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.stall.progress();
                Poll::Ready(Ok(Some(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Err(Failure::BodyBroken)),
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Pending => self.stall.poll(cx).map(|()| Err(Failure::BodyTimeout)),
        }
    }
}
