//! Informational responses (1xx) on their way to a visitor: a proxy must pass them on (RFC 9110 section 15.2), and
//! `103 Early Hints` is worth a round trip to a page.
//!
//! `forward` puts them here when a backend says them, `server::http1` writes them before the response. It must never
//! let one get into a response, nor hold more than a bound.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

use crate::config::limits::{INTERIM_MOST, INTERIM_SIZE};
use crate::headers::hop_by_hop;
use crate::proxy::link::Link;
use crate::upstream::http1::head::Head;

/// What waits to be written on one downstream connection.
#[derive(Debug, Default)]
pub struct Interim {
    open: Cell<bool>,
    heads: RefCell<Vec<u8>>,
}

impl Interim {
    /// From now on what is said before the response to the request in flight is passed on.
    pub fn open(&self) {
        self.open.set(true);
    }

    /// The response's own head is next: what comes now is none of its.
    pub fn close(&self) {
        self.open.set(false);
    }

    /// A backend said this.
    pub fn push(&self, status: StatusCode, headers: &HeaderMap) {
        if !self.open.get() {
            return;
        }
        let (head, mut heads) = (head(status, headers), self.heads.borrow_mut());
        if heads.len() + head.len() <= INTERIM_SIZE {
            heads.extend_from_slice(&head);
        }
    }

    /// Whether there is something to write.
    pub fn is_waiting(&self) -> bool {
        !self.heads.borrow().is_empty()
    }

    /// What is to be written now.
    pub fn take(&self) -> Vec<u8> {
        self.heads.take()
    }
}

/// What a backend says before its response, to one attempt. Without an end it would keep a worker busy, whose timers
/// then have no turn either.
#[derive(Debug, Default)]
pub struct Prelude {
    heard: u32,
    /// What lets the upload go that waits for `100 Continue`; its visitor then hears it from its connection.
    go_ahead: Option<Arc<Notify>>,
    /// Where the visitor hears of all else.
    interim: Option<Rc<Link>>,
}

impl Prelude {
    /// To a request whose upload may wait, of a visitor who may hear of it.
    pub fn new(go_ahead: Option<Arc<Notify>>, interim: Option<Rc<Link>>) -> Self {
        Self { heard: 0, go_ahead, interim }
    }

    /// One more; whether to go on.
    pub fn hear(&mut self, head: &Head) -> bool {
        self.heard += 1;
        if self.heard > INTERIM_MOST {
            return false;
        }
        if head.status == StatusCode::CONTINUE {
            // One that nobody asked for tells the visitor nothing.
            self.go_ahead.iter().for_each(|go_ahead| go_ahead.notify_one());
        } else if let Some(link) = &self.interim {
            link.interim.push(head.status, &head.headers);
        }
        true
    }
}

/// The head as it is written: it has no body, so nothing that frames one (RFC 9110 section 8.6).
fn head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut headers = headers.clone();
    hop_by_hop::strip_response(&mut headers);
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn early_hints() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a.css>"));
        headers.insert("connection", HeaderValue::from_static("x-hop"));
        headers.insert("x-hop", HeaderValue::from_static("1"));
        headers.insert("content-length", HeaderValue::from_static("5"));
        headers
    }

    #[test]
    fn what_a_backend_says_is_kept_while_its_response_is_awaited() {
        let interim = Interim::default();
        interim.push(StatusCode::EARLY_HINTS, &early_hints());
        assert!(interim.take().is_empty(), "nothing is awaited");
        interim.open();
        interim.push(StatusCode::EARLY_HINTS, &early_hints());
        interim.push(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(
            String::from_utf8(interim.take()).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        );
        interim.close();
        interim.push(StatusCode::EARLY_HINTS, &early_hints());
        assert!(interim.take().is_empty(), "too late");
    }

    #[test]
    fn no_more_waits_than_the_bound() {
        let interim = Interim::default();
        interim.open();
        for _ in 0..10_000 {
            interim.push(StatusCode::EARLY_HINTS, &early_hints());
        }
        let waiting = interim.take().len();
        assert!((INTERIM_SIZE / 2..=INTERIM_SIZE).contains(&waiting), "{waiting}");
    }
}
