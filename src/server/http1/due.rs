//! The one timer of a visitor's connection, for all that it waits for.
//!
//! `server::http1::wire` asks it from the connection's task alone. A busy connection must never reset nor ask the
//! runtime's timer: it is left standing where it fires sooner than is due, and looked at when it has fired.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

/// A timer that there is once something was waited for.
#[derive(Debug, Default)]
pub struct Due(Option<Pin<Box<Sleep>>>);

impl Due {
    /// Ready at `due`, which is another at each call.
    pub fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.0 {
            if !timer.is_elapsed() && timer.deadline() <= due {
                return Poll::Pending;
            }
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        // A task that has had its turn would be put off otherwise, and this timer never asked again.
        pin!(unconstrained(timer.as_mut())).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    fn later(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    #[tokio::test]
    async fn it_is_ready_when_the_last_is_due_and_not_before() {
        let mut due = Due::default();
        for (first, then) in [(10, 30), (40, 20), (20, 20)] {
            let (first, then) = (later(first), later(then));
            let polled = poll_fn(|cx| Poll::Ready(due.poll(first, cx))).await;
            assert!(polled.is_pending());
            poll_fn(|cx| due.poll(then, cx)).await;
            assert!(Instant::now() >= then);
        }
    }

    /// The timer wasn't the runtime's yet when the task had had its turn, and nobody asked for it again: a connection
    /// that did much before it fell silent stayed for ever.
    #[tokio::test]
    async fn it_fires_for_a_task_that_has_had_its_turn_too() {
        let (mut due, end) = (Due::default(), later(20));
        let mut spent = false;
        let waiting = poll_fn(|cx| {
            while !std::mem::replace(&mut spent, true) {
                while tokio::task::coop::has_budget_remaining() {
                    let _ = pin!(tokio::task::coop::consume_budget()).poll(cx);
                }
            }
            due.poll(end, cx)
        });
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it fires");
    }
}
