//! A connection of the pool in use: what one exchange sends on it, and reads from it.
//!
//! `upstream::pool` gives it, `proxy::forward` sends by it and the answer's body carries it. It must never go back
//! before both sides of its exchange are whole.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use rustls::pki_types::ServerName;

use crate::upstream::http1::head::Head;
use crate::upstream::http1::request::Besides;
use crate::upstream::http1::{Bare, Connection};
use crate::upstream::pool::Pool;
use crate::upstream::streams::Stream;
use crate::upstream::unanswered::{Cause, Unanswered};
use crate::upstream::upload::Upload;

/// A connection, or its stream on a shared one, for the time of one exchange. Dropped, it closes; given back, the
/// connection waits for the next.
#[derive(Debug)]
pub struct Lease {
    carrier: Carrier,
    pool: Rc<Pool>,
}

impl Lease {
    pub(super) fn new(carrier: Carrier, pool: &Rc<Pool>) -> Self {
        Self { carrier, pool: Rc::clone(pool) }
    }

    pub(super) fn into_carrier(self) -> Carrier {
        self.carrier
    }

    /// Where it is from.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether it carried an exchange before: only then may the backend have closed it behind our back.
    pub fn is_reused(&self) -> bool {
        match &self.carrier {
            Carrier::Http1 { link, .. } => link.exchanges > 0,
            Carrier::Http2(stream, _) => stream.is_reused(),
        }
    }

    /// What is spoken on it: HTTP/1.1 or HTTP/2.
    pub fn version(&self) -> Version {
        match &self.carrier {
            Carrier::Http1 { .. } => Version::HTTP_11,
            Carrier::Http2(..) => Version::HTTP_2,
        }
    }

    /// Sends one request and waits for the response's head. `heard` is told of informational responses before it, which
    /// hyper keeps to itself in HTTP/2, and says whether to go on.
    ///
    /// # Errors
    /// With the request where it is whole.
    pub async fn send(
        &mut self,
        mut request: Request<Upload>,
        to: Besides<'_>,
        heard: impl FnMut(&Head) -> bool,
    ) -> Result<Response<()>, Unanswered> {
        match &mut self.carrier {
            Carrier::Http1 { connection, .. } => connection.send(request, to, heard).await,
            Carrier::Http2(stream, body) => {
                to.ours.iter().for_each(|ours| ours.insert(request.headers_mut()));
                let response = stream.send(request).await.map_err(|mut failed| {
                    let mut request = failed.take_message();
                    let headers = request.as_mut().map(Request::headers_mut);
                    headers.zip(to.ours).into_iter().for_each(|(headers, ours)| ours.remove(headers));
                    Unanswered { unsent: request.is_some(), request, cause: failed.into_error().into() }
                })?;
                let (parts, incoming) = response.into_parts();
                *body = Some(incoming);
                Ok(Response::from_parts(parts, ()))
            }
        }
    }

    /// The next of the response's body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        match &mut self.carrier {
            Carrier::Http1 { connection, .. } => {
                connection.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Cause::from)))
            }
            Carrier::Http2(_, Some(body)) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Cause::from)))
            }
            Carrier::Http2(_, None) => Poll::Ready(None),
        }
    }

    /// Has what is left of the request go on, where nothing of the response is asked for.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) {
        match &mut self.carrier {
            Carrier::Http1 { connection, .. } => connection.poll_rest(cx),
            // A stream's body goes by itself.
            Carrier::Http2(..) => {}
        }
    }

    /// Whether the response's body has ended.
    pub fn is_end_stream(&self) -> bool {
        match &self.carrier {
            Carrier::Http1 { connection, .. } => connection.is_end_stream(),
            Carrier::Http2(_, body) => body.as_ref().is_none_or(Incoming::is_end_stream),
        }
    }

    /// How much of it is to come.
    pub fn size_hint(&self) -> SizeHint {
        match &self.carrier {
            Carrier::Http1 { connection, .. } => connection.size_hint(),
            Carrier::Http2(_, body) => body.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint),
        }
    }

    /// From now on a read brings at most so many bytes, where no other exchange's are among them.
    pub fn reads(&mut self, most: usize) {
        match &mut self.carrier {
            Carrier::Http1 { connection, .. } => connection.reads(most),
            Carrier::Http2(..) => {}
        }
    }

    /// What it is besides HTTP, after a 101. Over HTTP/2 there is none.
    pub fn into_bare(self) -> Option<Bare> {
        match self.carrier {
            Carrier::Http1 { connection, .. } => Some(connection.into_bare()),
            Carrier::Http2(..) => None,
        }
    }

    /// The backend has said how long it keeps an idle connection (`Keep-Alive: timeout`); we let go a second
    /// before it does.
    pub fn is_kept_for(&mut self, timeout: Duration) {
        match &mut self.carrier {
            Carrier::Http1 { link, .. } => {
                link.promised = Some(timeout.saturating_sub(Duration::from_secs(1)));
            }
            // HTTP/2 has no such field (RFC 9113 section 8.2.2).
            Carrier::Http2(..) => {}
        }
    }

    /// The response is over, and the request isn't. The rest of it goes where it was going, in a task of its own and as
    /// bounded as before: a visitor whose body nobody reads would lose its connection, without being told.
    pub fn finish(mut self) {
        tokio::task::spawn_local(async move {
            let sent = match &mut self.carrier {
                Carrier::Http1 { connection, .. } => connection.finish().await,
                // A stream's body goes by itself.
                Carrier::Http2(..) => return,
            };
            if sent {
                self.give_back();
            }
        });
    }

    /// The exchange is over to its last byte, both ways.
    pub fn give_back(self) {
        match self.carrier {
            Carrier::Http1 { mut connection, mut link } => {
                link.exchanges = link.exchanges.saturating_add(1);
                if connection.rests() {
                    self.pool.put(connection, link);
                }
            }
            Carrier::Http2(stream, _) => stream.complete(),
        }
    }
}

/// What carries an exchange.
#[derive(Debug)]
pub(super) enum Carrier {
    /// A connection of its own.
    Http1 { connection: Box<Connection>, link: PooledLink },
    /// A stream of a shared one, and the response's body on it.
    Http2(Rc<Stream>, Option<Incoming>),
}

/// What a connection is beside its stream.
#[derive(Debug)]
pub(super) struct PooledLink {
    /// A unix socket has none.
    pub(super) address: Option<std::net::SocketAddr>,
    pub(super) server_name: Option<ServerName<'static>>,
    /// How many it has carried.
    pub(super) exchanges: u32,
    /// How long it may idle by the backend's own word.
    pub(super) promised: Option<Duration>,
}
