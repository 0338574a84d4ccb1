//! The visitors: a modest, steady stream of requests that doesn't wait for answers, as visitors don't.
//!
//! `stage` lets them in and out. Every other request is a regular's, who keeps the proxy's cookie; the rest
//! come once. What isn't answered by a platform is a loss of the proxy's: it must never be tried again, nor
//! left out of the count.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Side;
use super::platform::PLATFORM;

/// Requests a second.
pub(super) const RATE: u32 = 200;
/// Visitors who come again and again, each once a second.
pub(super) const REGULARS: usize = 100;
/// How often it is looked whose turn it is.
const TICK: Duration = Duration::from_millis(5);
/// Requests begun at one look. More are due only after the machine stood still: those are left out.
const AT_ONCE: u64 = 20;
/// How long a visitor waits before giving up. Platforms take 35 ms at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long those who are in are waited for at the end.
const FAREWELL: Duration = Duration::from_secs(1);

type Sender = SendRequest<Empty<Bytes>>;

/// All visitors, their connections and what they saw.
#[derive(Debug)]
pub(super) struct Visitors {
    proxy: SocketAddr,
    idle: RefCell<VecDeque<Sender>>,
    regulars: RefCell<Vec<Regular>>,
    tally: Cell<Tally>,
    is_over: Cell<bool>,
}

/// What they saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Requests that have begun and haven't ended.
    pub(super) waiting: u64,
    /// Answers of each platform.
    pub(super) answered: [u64; 2],
    /// Those of them with a status from 500: the platform's own errors.
    pub(super) errors: [u64; 2],
    /// Requests that no platform answered.
    pub(super) lost: u64,
    /// Connections that are open.
    pub(super) open: u64,
    /// Connections that were closed under a visitor.
    pub(super) closed: u64,
}

impl Tally {
    /// Requests that have ended.
    pub(super) fn requests(&self) -> u64 {
        self.answered[0] + self.answered[1] + self.lost
    }
}

/// What is known of the regulars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Habits {
    /// How many were answered by which platform last.
    pub(super) at: [usize; 2],
    /// How often the one that moved most often has changed platform.
    pub(super) moves: u32,
}

#[derive(Debug, Clone, Default)]
struct Regular {
    cookie: Option<http::HeaderValue>,
    at: Option<Side>,
    moves: u32,
}

impl Visitors {
    /// Nobody has come yet.
    pub(super) fn new(proxy: SocketAddr) -> Rc<Self> {
        Rc::new(Self {
            proxy,
            idle: RefCell::default(),
            regulars: RefCell::new(vec![Regular::default(); REGULARS]),
            tally: Cell::default(),
            is_over: Cell::new(false),
        })
    }

    /// They come, until the end. Runs inside a `LocalSet`.
    pub(super) async fn come(self: Rc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (began, mut begun) = (Instant::now(), 0);
        loop {
            ticks.tick().await;
            if self.is_over.get() {
                break;
            }
            let due = (began.elapsed().as_secs_f64() * f64::from(RATE)) as u64;
            for number in begun.max(due.saturating_sub(AT_ONCE))..due {
                tokio::task::spawn_local(Rc::clone(&self).visit(number));
            }
            begun = due;
        }
    }

    /// What they have seen so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// What the regulars have done so far.
    pub(super) fn habits(&self) -> Habits {
        let regulars = self.regulars.borrow();
        Habits {
            at: Side::BOTH.map(|side| regulars.iter().filter(|regular| regular.at == Some(side)).count()),
            moves: regulars.iter().map(|regular| regular.moves).max().unwrap_or(0),
        }
    }

    /// Nobody comes any more; those who are in get their answers.
    pub(super) async fn leave(&self) {
        self.is_over.set(true);
        let until = Instant::now() + FAREWELL;
        while self.tally.get().waiting > 0 && Instant::now() < until {
            tokio::time::sleep(TICK).await;
        }
        self.idle.borrow_mut().clear();
    }

    async fn visit(self: Rc<Self>, number: u64) {
        let regular = number.is_multiple_of(2).then_some((number / 2) as usize % REGULARS);
        self.note(|tally| tally.waiting += 1);
        let answer = timeout(PATIENCE, self.ask(regular)).await.ok().flatten();
        self.note(|tally| {
            tally.waiting -= 1;
            match answer {
                None => tally.lost += 1,
                Some(Answer { side, is_error }) => {
                    tally.answered[side as usize] += 1;
                    tally.errors[side as usize] += u64::from(is_error);
                }
            }
        });
        if let (Some(regular), Some(Answer { side, .. })) = (regular, answer) {
            self.regulars.borrow_mut()[regular].answered_by(side);
        }
    }

    /// One request, on a connection that is free or a new one. Nothing where no platform answered.
    async fn ask(self: &Rc<Self>, regular: Option<usize>) -> Option<Answer> {
        let free = self.idle.borrow_mut().pop_front();
        let mut sender = match free {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let mut request = Request::get("/").header(HOST, self.proxy.to_string());
        if let Some(cookie) = regular.and_then(|regular| self.regulars.borrow()[regular].cookie.clone()) {
            request = request.header(COOKIE, cookie);
        }
        let request = request.body(Empty::new()).expect("a path, an address and a cookie are a request");
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        body.collect().await.ok()?;
        // At the back, so that each connection has its turn and none goes idle for long.
        self.idle.borrow_mut().push_back(sender);
        if let Some(regular) = regular {
            self.regulars.borrow_mut()[regular].take_cookie(&head.headers);
        }
        let side = Side::named(head.headers.get(PLATFORM)?.to_str().ok()?)?;
        Some(Answer { side, is_error: head.status.is_server_error() })
    }

    async fn connect(self: &Rc<Self>) -> Option<Sender> {
        let socket = TcpStream::connect(self.proxy).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.ok()?;
        let this = Rc::clone(self);
        self.note(|tally| tally.open += 1);
        tokio::task::spawn_local(async move {
            // However it ended, it is gone; what was lost by it, its visitor counts.
            let _ = connection.await;
            let is_over = this.is_over.get();
            this.note(|tally| {
                tally.open -= 1;
                tally.closed += u64::from(!is_over);
            });
        });
        Some(sender)
    }

    fn note(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }
}

impl Regular {
    fn take_cookie(&mut self, headers: &HeaderMap) {
        let Some(line) = headers.get(SET_COOKIE).and_then(|line| line.to_str().ok()) else { return };
        let pair = line.split(';').next().unwrap_or_default();
        self.cookie = http::HeaderValue::from_str(pair).ok();
    }

    fn answered_by(&mut self, side: Side) {
        let before = self.at.replace(side);
        self.moves += u32::from(before.is_some_and(|before| before != side));
    }
}

/// A platform's answer.
#[derive(Debug, Clone, Copy)]
struct Answer {
    side: Side,
    is_error: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_keeps_the_cookie_and_counts_moves() {
        let mut regular = Regular::default();
        let set = http::HeaderValue::from_static("crossfade=1234; Path=/; HttpOnly");
        regular.take_cookie(&HeaderMap::from_iter([(SET_COOKIE, set)]));
        regular.take_cookie(&HeaderMap::new());
        assert_eq!(regular.cookie.as_ref().unwrap(), "crossfade=1234");
        for side in [Side::Old, Side::Old, Side::New, Side::New, Side::Old] {
            regular.answered_by(side);
        }
        assert_eq!((regular.at, regular.moves), (Some(Side::Old), 2));
    }

    #[tokio::test]
    async fn who_finds_nobody_is_lost() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let visitors = Visitors::new(gone);
        Rc::clone(&visitors).visit(0).await;
        assert_eq!(visitors.tally(), Tally { lost: 1, ..Tally::default() });
        assert_eq!((visitors.tally().requests(), visitors.habits()), (1, Habits::default()));
    }
}
