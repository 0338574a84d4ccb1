//! Whether the control thread's listeners take connections: while an upgrade is under way another process may.
//!
//! `app` keeps it, `listen` goes by it. Those who are connected when it shuts get the answer that they wait for, and no
//! other: a scrape of this process behind one of the next would show counts that go down.

use tokio::sync::watch;

/// What a listener sees of it.
#[derive(Debug, Clone)]
pub struct Gate {
    state: watch::Receiver<State>,
    inside: watch::Sender<usize>,
}

/// What opens and shuts it.
#[derive(Debug)]
pub struct GateKeeper {
    state: watch::Sender<State>,
    inside: watch::Receiver<usize>,
}

/// A connection that came through.
#[derive(Debug)]
pub(super) struct Inside(watch::Sender<usize>);

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Shut,
    /// Another process has the sockets.
    Gone,
}

impl GateKeeper {
    /// One that is open.
    pub fn new() -> (Self, Gate) {
        let ((opens, state), (inside, count)) = (watch::channel(State::Open), watch::channel(0));
        (Self { state: opens, inside: count }, Gate { state, inside })
    }

    /// Takes connections.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }

    /// Takes none for now.
    pub fn shut(&self) {
        self.state.send_replace(State::Shut);
    }

    /// Takes none any more.
    pub fn leave(&self) {
        self.state.send_replace(State::Gone);
    }

    /// Waits until all have left who came through.
    pub async fn is_empty(&mut self) {
        // Without a gate nobody comes.
        let _ = self.inside.wait_for(|inside| *inside == 0).await;
    }
}

impl Gate {
    /// Whether another process has the sockets.
    pub fn is_left(&self) -> bool {
        *self.state.borrow() == State::Gone
    }

    /// Lets a connection through, until this is dropped.
    pub(super) fn enter(&self) -> Inside {
        self.inside.send_modify(|inside| *inside += 1);
        Inside(self.inside.clone())
    }

    /// Waits until connections are taken. Whether they ever will be.
    pub(super) async fn opens(&mut self) -> bool {
        let now = self.state.wait_for(|state| *state != State::Shut).await.map(|state| *state);
        !matches!(now, Ok(State::Gone))
    }

    /// Waits until none are taken.
    pub(super) async fn shuts(&mut self) {
        if self.state.wait_for(|state| *state != State::Open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.send_modify(|inside| *inside -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn it_opens_and_shuts_and_knows_who_is_inside() {
        let (mut keeper, mut gate) = GateKeeper::new();
        let soon = Duration::from_millis(5);
        assert!(gate.opens().await);
        assert!(timeout(soon, gate.shuts()).await.is_err(), "it is open");
        let inside = gate.enter();
        keeper.shut();
        gate.shuts().await;
        assert!(timeout(soon, gate.opens()).await.is_err(), "it is shut");
        keeper.open();
        assert!(gate.opens().await && !gate.is_left());
        keeper.leave();
        assert!(!gate.opens().await && gate.is_left());
        assert!(timeout(soon, keeper.is_empty()).await.is_err(), "somebody waits for an answer");
        drop(inside);
        keeper.is_empty().await;
    }
}
