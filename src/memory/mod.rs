//! Memory as a bound: how much there may be, how much is used, and what is done without when it grows scarce.
//!
//! `app` starts the [`watch`], which is the control thread's; workers read the [`Level`] from their [`Pressure`]. It
//! must never cost a request more than the look at one number.

pub mod limit;
pub mod rules;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch::{Receiver, Sender, channel};

pub use rules::Level;

/// What workers know of memory. Clones are the same.
#[derive(Debug, Clone)]
pub struct Pressure {
    state: Arc<State>,
    changed: Receiver<()>,
}

impl Pressure {
    /// With its telling side; calm until it tells otherwise.
    pub fn new() -> (Telling, Self) {
        let state = Arc::new(State { level: AtomicU8::new(0), patience: AtomicU64::new(u64::MAX) });
        let (sender, changed) = channel(());
        (Telling { state: Arc::clone(&state), sender }, Self { state, changed })
    }

    /// How scarce memory is.
    pub fn level(&self) -> Level {
        match self.state.level.load(Ordering::Relaxed) {
            0 => Level::Calm,
            1 => Level::Tight,
            _ => Level::Short,
        }
    }

    /// For how long a visitor may take nothing of an answer before its connection is ended for others' sake.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.state.patience.load(Ordering::Relaxed))
    }

    /// Returns once something has changed, or nobody tells any more.
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The telling side.
#[derive(Debug)]
pub struct Telling {
    state: Arc<State>,
    sender: Sender<()>,
}

impl Telling {
    /// From now on it is this; wakes every worker where it is something else than before, or they are to `look`.
    pub fn tell(&self, level: Level, patience: Option<Duration>, look: bool) {
        let patience =
            patience.map_or(u64::MAX, |patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        let before = self.state.level.swap(level as u8, Ordering::Relaxed);
        let waited = self.state.patience.swap(patience, Ordering::Relaxed);
        if look || (before, waited) != (level as u8, patience) {
            self.sender.send_replace(());
        }
    }
}

#[derive(Debug)]
struct State {
    level: AtomicU8,
    /// Milliseconds.
    patience: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn workers_are_woken_by_a_change_and_by_nothing_else() {
        let (telling, mut pressure) = Pressure::new();
        assert_eq!((pressure.level(), pressure.patience()), (Level::Calm, Duration::from_millis(u64::MAX)));
        telling.tell(Level::Calm, None, false);
        assert!(!pressure.changed.has_changed().unwrap());
        telling.tell(Level::Short, Some(Duration::from_secs(2)), false);
        pressure.changed().await;
        assert_eq!((pressure.level(), pressure.patience()), (Level::Short, Duration::from_secs(2)));
        telling.tell(Level::Short, Some(Duration::from_secs(1)), false);
        pressure.changed().await;
        telling.tell(Level::Short, Some(Duration::from_secs(1)), false);
        assert!(!pressure.changed.has_changed().unwrap());
        telling.tell(Level::Short, Some(Duration::from_secs(1)), true);
        pressure.changed().await;
    }
}
