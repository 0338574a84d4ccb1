//! What a request becomes once its backend has agreed to a WebSocket: bytes both ways, one record at the end.
//!
//! `handle` makes one with the 101. In HTTP/1.1 the answer carries it: `server::http1` takes it out when the 101 has
//! gone, and runs it on the bare socket in the connection's own task. In HTTP/2 it hands it to `server::http2` by
//! [`Begin`], which runs it on the stream. It must never outlive the connection, nor let a byte of the visitor's go to
//! the backend before the 101.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::headers::upgrade;
use crate::proxy::answer::Answer;
use crate::proxy::error::{Error, Failure};
use crate::proxy::exchange::Exchange;
use crate::proxy::relay::{End, Relay};
use crate::upstream::http1::Bare;
use crate::upstream::lease::Lease;

/// How a stream of HTTP/2 runs a tunnel beside the other streams of its connection: the connection's to say.
pub struct Begin(Box<dyn Fn(Box<Tunnel>, OnUpgrade)>);

impl Begin {
    /// By this, which gets the tunnel and the stream's bytes to come.
    pub fn by(begin: impl Fn(Box<Tunnel>, OnUpgrade) + 'static) -> Self {
        Self(Box::new(begin))
    }
}

impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begin")
    }
}

/// The bytes to come of a stream that asks for a WebSocket: `CONNECT` with that `:protocol` (RFC 8441 section 4).
pub fn stream_of(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    if request.method() != Method::CONNECT {
        return None;
    }
    let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
    (protocol == Some("websocket")).then(|| hyper::upgrade::on(request))
}

/// An exchange that goes on behind its 101.
#[derive(Debug)]
pub struct Tunnel {
    exchange: Box<Exchange>,
    /// The backend's side.
    backend: Option<Bare>,
}

/// Turns a backend's 101 into the visitor's, and the exchange into a tunnel that waits for it to have gone.
pub fn switch(mut exchange: Box<Exchange>, agreed: Response<()>, lease: Lease) -> Response<Answer> {
    let backend = lease.into_bare();
    let (mut head, ()) = agreed.into_parts();
    exchange.switched();
    if let Some(stream) = exchange.stream.take() {
        upgrade::clear(&mut head.headers);
        head.status = StatusCode::OK;
        let downstream = Rc::clone(&exchange.downstream);
        let tunnel = Box::new(Tunnel { exchange, backend });
        // Only a connection with a way to begin it gives such streams.
        if let Some(begin) = &downstream.streams {
            begin.0(tunnel, stream);
        }
        return Response::from_parts(head, Answer::of_nothing());
    }
    upgrade::write(&mut head.headers);
    Response::from_parts(head, Answer::of_tunnel(Box::new(Tunnel { exchange, backend })))
}

impl Tunnel {
    /// Runs it to its end. `early` is what the visitor sent behind its request; once `drains`, it closes by a frame
    /// of its own. Whoever calls sees to it that the task is woken then.
    pub async fn run<V>(self: Box<Self>, visitor: V, early: Bytes, drains: impl Fn() -> bool)
    where
        V: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { mut exchange, backend } = *self;
        let Some(backend) = backend else {
            return exchange.broke_off(Error::Backend(Failure::TunnelBroken));
        };
        let timeouts = exchange.view.snapshot.config.timeouts;
        let mut relay = Relay::new(visitor, backend, early, &timeouts);
        let mut counted = (0, 0);
        let end = poll_fn(|cx| {
            let outcome = relay.poll(cx, drains());
            let passed = relay.passed();
            if passed != counted {
                exchange.tunnelled(passed.0 - counted.0, passed.1 - counted.1);
                counted = passed;
            }
            outcome
        });
        let end = end.await;
        settle(&mut exchange, end, relay.drains());
    }
}

/// What the record says of it.
fn settle(exchange: &mut Exchange, end: End, drained: bool) {
    match end {
        _ if drained => exchange.was_ended("drained"),
        End::Whole => exchange.complete(),
        End::Idle => exchange.was_ended("tunnel_idle"),
        // As with any exchange that isn't complete.
        End::VisitorBroke => {}
        End::BackendBroke => exchange.broke_off(Error::Backend(Failure::TunnelBroken)),
        End::BackendStalled => exchange.broke_off(Error::Backend(Failure::WriteTimeout)),
    }
}
