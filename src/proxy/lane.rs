//! Where bodies that come in drops wait for their turn, so that nobody who asks for a page waits behind them.
//!
//! Thousands of slow uploads send a few bytes each at the same moment; the runtime would serve them all in one go, and
//! everybody else after them. `server::http1` has each wait for its [`Turn`], `server::worker` runs the [`Lane`]. It
//! must never cost who sends a body in one piece, or in large ones, anything.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::config::limits::{CROWD, CROWD_PAUSE, CROWD_ROUNDS, DROP, LANE};

/// Who waits, on one worker.
#[derive(Debug, Default)]
pub struct Lane {
    waiting: RefCell<VecDeque<Rc<Place>>>,
    come: Notify,
}

impl Lane {
    /// Calls a few of them at a time, for ever: in between the runtime looks at its sockets, and everybody else has a
    /// turn. What a crowd sends at once is spread over the next moments.
    pub async fn run(&self) {
        loop {
            let waiting = self.waiting.borrow().len();
            let called = std::iter::from_fn(|| self.waiting.borrow_mut().pop_front()).take(turns(waiting));
            if called.map(|place| place.call()).count() == 0 {
                self.come.notified().await;
            }
            if waiting > CROWD {
                // The backend is to have them a few at a time as well.
                tokio::time::sleep(CROWD_PAUSE).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    fn join(&self, place: Rc<Place>) {
        self.waiting.borrow_mut().push_back(place);
        self.come.notify_one();
    }
}

/// How many of those who wait are called at once: 2000 of them have had their turn in 400 rounds, 100 000 in 2100.
fn turns(waiting: usize) -> usize {
    LANE + waiting / CROWD_ROUNDS
}

#[derive(Debug)]
struct Place {
    called: Cell<bool>,
    waker: RefCell<Waker>,
}

impl Place {
    fn call(&self) {
        self.called.set(true);
        self.waker.borrow().wake_by_ref();
    }
}

/// One connection's turn to read of a body.
#[derive(Debug)]
pub struct Turn {
    lane: Rc<Lane>,
    /// The last read brought a drop.
    drops: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It needs none, or has it.
    Has,
    /// It will have to wait once something comes.
    Joins,
    Waits(Rc<Place>),
}

impl Turn {
    /// Who hasn't sent anything yet.
    pub fn new(lane: Rc<Lane>) -> Self {
        Self { lane, drops: false, state: State::Has }
    }

    /// Whether it will have to wait once something comes.
    pub fn joins(&self) -> bool {
        matches!(self.state, State::Joins)
    }

    /// Whether it may read now; else its task, which polls nothing but this connection, is woken when it may.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        match &self.state {
            State::Has => return Poll::Ready(()),
            State::Joins => {
                let place =
                    Rc::new(Place { called: Cell::new(false), waker: RefCell::new(cx.waker().clone()) });
                self.lane.join(Rc::clone(&place));
                self.state = State::Waits(place);
            }
            State::Waits(place) if place.called.get() => self.state = State::Has,
            // A body may go on in another task.
            State::Waits(place) => place.waker.borrow_mut().clone_from(cx.waker()),
        }
        if matches!(self.state, State::Has) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// It has read so many bytes.
    pub fn read(&mut self, bytes: usize) {
        self.drops = bytes < DROP;
    }

    /// There was nothing more to read.
    pub fn waits(&mut self) {
        if self.drops {
            self.state = State::Joins;
        }
    }

    /// The body is at its end, or none has begun.
    pub fn ends(&mut self) {
        self.drops = false;
        self.state = State::Has;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn polled(turn: &mut Turn) -> Poll<()> {
        turn.poll(&Context::from_waker(Waker::noop()))
    }

    /// Whose body came in a drop, and who waits for the next.
    fn dropping(lane: &Rc<Lane>) -> Turn {
        let mut turn = Turn::new(Rc::clone(lane));
        assert_eq!(polled(&mut turn), Poll::Ready(()));
        turn.read(1);
        turn.waits();
        turn
    }

    #[test]
    fn who_sends_in_large_pieces_never_waits() {
        let mut turn = Turn::new(Rc::default());
        for _ in 0..3 {
            assert_eq!(polled(&mut turn), Poll::Ready(()));
            turn.read(DROP);
            turn.waits();
        }
        assert!(turn.lane.waiting.borrow().is_empty());
    }

    #[tokio::test]
    async fn drops_are_read_in_order_a_few_at_a_time() {
        let lane = Rc::new(Lane::default());
        let mut turns: Vec<_> = (0..3 * LANE).map(|_| dropping(&lane)).collect();
        assert!(turns.iter_mut().all(|turn| polled(turn).is_pending()));
        let ready =
            |turns: &mut [Turn]| turns.iter_mut().map(|turn| polled(turn).is_ready()).collect::<Vec<_>>();
        let mut run = Box::pin(lane.run());
        for round in 1..=3 {
            assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let called = ready(&mut turns);
            assert_eq!(called.iter().filter(|ready| **ready).count(), round * LANE);
            assert!(called.is_sorted_by(|a, b| a >= b), "{called:?}");
        }
    }

    /// 4000 slow uploads that sent their drops in the same moment had a normal visitor's 99th percentile at twice what
    /// it was in calm: they came to the backend in one moment as well.
    #[tokio::test]
    async fn the_drops_of_a_crowd_are_spread_over_time() {
        let lane = Rc::new(Lane::default());
        let mut turns: Vec<_> = (0..CROWD + 3 * LANE).map(|_| dropping(&lane)).collect();
        assert!(turns.iter_mut().all(|turn| polled(turn).is_pending()));
        let left = || lane.waiting.borrow().len();
        let mut run = Box::pin(lane.run());
        // No clock goes on between these.
        for _ in 0..3 {
            assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(left(), CROWD + 2 * LANE);
        }
        let mut steps = vec![];
        poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending());
            steps.push(left());
            if left() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        steps.dedup();
        assert!(steps.windows(2).all(|two| two[0] - two[1] == LANE), "{steps:?}");
    }

    #[test]
    fn nobody_in_a_crowd_waits_for_long() {
        for (crowd, most) in [(CROWD, 16), (2000, 400), (20_000, 1300), (100_000, 2100)] {
            let left = std::iter::successors(Some(crowd), |left| Some(left.saturating_sub(turns(*left))));
            let rounds = left.take_while(|left| *left > 0).count();
            assert!(rounds <= most, "{crowd}: {rounds}");
        }
    }

    #[test]
    fn who_was_called_reads_at_once_and_the_end_of_a_body_ends_the_wait() {
        let lane = Rc::default();
        let mut turn = dropping(&lane);
        assert!(polled(&mut turn).is_pending() && polled(&mut turn).is_pending());
        assert_eq!(lane.waiting.borrow().len(), 1, "it waits once");
        turn.ends();
        assert!(polled(&mut turn).is_ready());
    }
}
