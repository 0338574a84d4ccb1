//! Informational responses (1xx) on their way to a visitor. hyper's server writes none but its own 100, and a
//! proxy must pass them on (RFC 9110 section 15.2): `103 Early Hints` is worth a round trip to a page.
//!
//! `forward` puts them here when hyper's client hears of them, `server::guard` writes them between two
//! responses, where hyper has nothing left to write. It must never let one get into a response, nor hold more
//! than a bound. Atomics, since hyper wants its callback to be `Sync`; both sides are on the worker's thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use arc_swap::ArcSwapOption;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

use crate::config::limits::{INTERIM_MOST, INTERIM_SIZE};
use crate::headers::hop_by_hop;
use crate::upstream::http1::head::Head;

/// What waits to be written on one downstream connection.
#[derive(Debug, Default)]
pub struct Interim {
    /// The request whose response is awaited, by its number on the connection; 0 where there is none.
    awaited: AtomicU64,
    heads: ArcSwapOption<Vec<u8>>,
    waiting: AtomicBool,
    writer: OnceLock<Waker>,
}

impl Interim {
    /// From now on the responses to request `number`, from 1, are passed on.
    pub fn open(&self, number: u64) {
        self.awaited.store(number, Ordering::Relaxed);
    }

    /// The response's own head is next: what was not written by now is not written at all.
    pub fn close(&self) {
        self.awaited.store(0, Ordering::Relaxed);
        if self.is_waiting() {
            self.waiting.store(false, Ordering::Relaxed);
            self.heads.store(None);
        }
    }

    /// A backend said this about request `number`.
    pub fn push(&self, number: u64, status: StatusCode, headers: &HeaderMap) {
        if self.awaited.load(Ordering::Relaxed) != number {
            return;
        }
        let mut heads = self.heads.swap(None).map_or_else(Vec::new, |heads| heads.to_vec());
        let head = head(status, headers);
        if heads.len() + head.len() <= INTERIM_SIZE {
            heads.extend_from_slice(&head);
        }
        self.heads.store(Some(heads.into()));
        self.waiting.store(true, Ordering::Relaxed);
        if let Some(writer) = self.writer.get() {
            writer.wake_by_ref();
        }
    }

    /// Whether there is something to write.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What is to be written now. The task that asks is the connection's, and is woken for more.
    pub fn take(&self, cx: &Context<'_>) -> Option<Vec<u8>> {
        self.writer.get_or_init(|| cx.waker().clone());
        if !self.waiting.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.heads.swap(None).map(|heads| heads.to_vec())
    }
}

/// What a backend says before its response, to one attempt. Without an end it would keep a worker busy, whose timers
/// then have no turn either.
#[derive(Debug, Default)]
pub struct Prelude {
    heard: u32,
    /// What lets the upload go that waits for `100 Continue`; its visitor then hears it from hyper.
    go_ahead: Option<Arc<Notify>>,
    /// Where the visitor hears of all else, and for which request.
    interim: Option<(Arc<Interim>, u64)>,
}

impl Prelude {
    /// To a request whose upload may wait, of a visitor who may hear of it.
    pub fn new(go_ahead: Option<Arc<Notify>>, interim: Option<(Arc<Interim>, u64)>) -> Self {
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
        } else if let Some((interim, number)) = &self.interim {
            interim.push(*number, head.status, &head.headers);
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
    fn what_a_backend_says_is_kept_for_its_own_request_alone() {
        let interim = Interim::default();
        let cx = Context::from_waker(Waker::noop());
        interim.push(1, StatusCode::EARLY_HINTS, &early_hints());
        assert_eq!(interim.take(&cx), None, "nothing is awaited");
        interim.open(2);
        interim.push(1, StatusCode::EARLY_HINTS, &early_hints());
        assert_eq!(interim.take(&cx), None, "another request's");
        interim.push(2, StatusCode::EARLY_HINTS, &early_hints());
        interim.push(2, StatusCode::PROCESSING, &HeaderMap::new());
        let written = interim.take(&cx).unwrap();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        );
        interim.push(2, StatusCode::EARLY_HINTS, &early_hints());
        interim.close();
        assert_eq!(interim.take(&cx), None, "too late");
    }

    #[test]
    fn no_more_waits_than_the_bound() {
        let interim = Interim::default();
        interim.open(1);
        for _ in 0..10_000 {
            interim.push(1, StatusCode::EARLY_HINTS, &early_hints());
        }
        let waiting = interim.take(&Context::from_waker(Waker::noop())).unwrap().len();
        assert!((INTERIM_SIZE / 2..=INTERIM_SIZE).contains(&waiting), "{waiting}");
    }
}
