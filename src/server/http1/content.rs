//! The body of a request on a connection of HTTP/1, for whoever sends it on.
//!
//! `server::http1` gives it with the request. It must never outlive its use of the connection unnoticed: the next
//! request is read when it ends, or is dropped.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::server::http1::wire::Wire;
use crate::upstream::content::Broken;

/// A body that is still on its connection.
#[derive(Debug)]
pub struct OnWire(pub(super) Rc<RefCell<Wire>>);

impl Body for OnWire {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.borrow_mut().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        !self.0.borrow().has_body()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().body_left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for OnWire {
    fn drop(&mut self) {
        self.0.borrow_mut().abandon();
    }
}
