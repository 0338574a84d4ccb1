//! What the exchanges of one worker share: the view of the live snapshot, sequences, the access buffer.
//!
//! `server::worker` makes one per thread. It must never be reached from another thread; what others have to
//! say comes by the published snapshot.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::memory::{Level, Pressure};
use crate::proxy::budget::Budget;
use crate::proxy::date::Date;
use crate::proxy::lane::Lane;
use crate::proxy::view::{Spread, View};
use crate::snapshot::publish::Published;
use crate::telemetry::access_log::Buffer;
use crate::telemetry::metrics::Metrics;
use crate::tls::challenges::Challenges;

/// One worker's state.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// Where it counts what has no series.
    pub metrics: Metrics,
    /// Its access records.
    pub log: RefCell<Buffer>,
    /// What may be sent once more.
    pub budget: Budget,
    /// Since when there is time here, for what must not follow a clock that is set.
    pub born: Instant,
    /// Our proofs to certificate authorities.
    pub challenges: Challenges,
    /// How scarce memory is.
    pub memory: Pressure,
    /// Where bodies that come in drops wait.
    pub lane: Rc<Lane>,
    /// The time of now for responses.
    pub date: Date,
    /// Told when the first record is in them.
    pub log_pending: Notify,
    published: Published,
    view: RefCell<Rc<View>>,
    spread: Spread,
    draining: Cell<bool>,
    ended: Cell<bool>,
    random: RefCell<fastrand::Rng>,
}

impl Worker {
    /// Worker number `index` of `workers`.
    pub fn new(
        index: usize,
        workers: usize,
        published: Published,
        challenges: Challenges,
        metrics: Metrics,
        memory: Pressure,
        log: Buffer,
    ) -> Self {
        // Worker 0 of 4 begins its sequences at 1/8, the next at 3/8: not all send their first 1 % at once.
        let phase = (index as f64 + 0.5) / workers as f64;
        let mut random = fastrand::Rng::new();
        let spread = Spread { phase, bucket: random.u64(..) };
        let view = View::new(published.current(), None, &metrics, spread);
        Self {
            index,
            budget: Budget::new(),
            lane: Rc::default(),
            date: Date::default(),
            born: Instant::now(),
            log: RefCell::new(log),
            log_pending: Notify::new(),
            view: RefCell::new(Rc::new(view)),
            draining: Cell::new(false),
            ended: Cell::new(false),
            random: RefCell::new(random),
            challenges,
            metrics,
            memory,
            published,
            spread,
        }
    }

    /// The view of the live snapshot, made anew if that has changed.
    pub fn view(&self) -> Rc<View> {
        let mut view = self.view.borrow_mut();
        if let Some(snapshot) = self.published.newer_than(&view.snapshot) {
            *view = Rc::new(View::new(snapshot, Some(&view), &self.metrics, self.spread));
        }
        Rc::clone(&view)
    }

    /// Closes idle connections whose time is over. Called every few seconds; sees a new snapshot without
    /// traffic too.
    pub fn sweep(&self, now: Instant) {
        let scarce = self.memory.level() != Level::Calm;
        for (pool, keep) in self.view().pools() {
            // A new connection costs a visitor a moment, no memory the answer.
            pool.sweep(now, if scarce { Duration::ZERO } else { keep });
        }
    }

    /// From now on each response says `Connection: close`.
    pub fn drain(&self) {
        self.draining.set(true);
    }

    /// Whether the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// The time is up: what hasn't finished is cut off by us.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// Whether the time is up.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// A new request id: 128 random bits in hex.
    pub fn request_id(&self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bits = self.random.borrow_mut().u128(..);
        let text: [u8; 32] = std::array::from_fn(|at| HEX[((bits >> (at * 4)) & 0xf) as usize]);
        HeaderValue::from_bytes(&text).expect("hex digits are a field value")
    }

    /// One of these numbers, by chance.
    pub fn any_of(&self, range: RangeInclusive<u64>) -> u64 {
        self.random.borrow_mut().u64(range)
    }

    /// A key for a WebSocket's handshake: 16 random bytes in base64 (RFC 6455 section 4.1).
    pub fn websocket_key(&self) -> HeaderValue {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut random = self.random.borrow_mut();
        let mut text = [b'='; 24];
        text[..21].fill_with(|| DIGITS[random.usize(..64)]);
        // The last of 128 bits are two of its six.
        text[21] = DIGITS[random.usize(..4) * 16];
        HeaderValue::from_bytes(&text).expect("base64 is a field value")
    }

    /// The live snapshot.
    pub fn snapshot(&self) -> Arc<crate::snapshot::Snapshot> {
        Arc::clone(&self.view().snapshot)
    }
}
