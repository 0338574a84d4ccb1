//! The body of a request on a connection of HTTP/1, for whoever sends it on.
//!
//! `server::http1` gives it with the request. It must never outlive its use of the connection unnoticed: the next
//! request is read when it ends, or is dropped, and whoever holds it longer reads nothing of that one.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::server::http1::wire::Wire;
use crate::upstream::content::Broken;

/// A body that is still on its connection.
#[derive(Debug)]
pub struct OnWire {
    wire: Rc<RefCell<Wire>>,
    number: u32,
    ended: bool,
}

impl OnWire {
    /// That of the request `number` on this connection.
    pub fn new(wire: Rc<RefCell<Wire>>, number: u32) -> Self {
        Self { wire, number, ended: false }
    }
}

impl Body for OnWire {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (number, mut wire) = (self.number, self.wire.borrow_mut());
        let frame = ready!(wire.poll_body(number, cx));
        let ended = !matches!(frame, Some(Err(_))) && !wire.has_body(number);
        drop(wire);
        self.ended = ended;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.wire.borrow().body_left(self.number);
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for OnWire {
    fn drop(&mut self) {
        self.wire.borrow_mut().abandon(self.number);
    }
}
