//! How a visitor of HTTP/2 takes its answers, stream by stream: hyper asks for more when the visitor has taken what it
//! was given.
//!
//! `answer` tells of it, `server::http2` ends streams by it. It must never count the time in which a backend is slow.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::pace::Pace;

/// What the streams of a connection do, for whoever polls one of them.
#[derive(Debug, Default)]
pub struct Reading {
    asked: Cell<u64>,
    allowed: Cell<Duration>,
}

impl Reading {
    /// An answer is asked for more.
    pub fn asks(&self) {
        self.asked.set(self.asked.get() + 1);
    }

    /// How often that was.
    pub fn asked(&self) -> u64 {
        self.asked.get()
    }

    /// An answer has given what may take so long.
    pub fn allow(&self, time: Duration) {
        self.allowed.set(time);
    }

    /// How long what was given last may take.
    pub fn allowed(&self) -> Duration {
        self.allowed.get()
    }
}

/// The visitor of one answer.
#[derive(Debug)]
pub struct Reader {
    pace: Pace,
    given: Option<(Instant, u64)>,
}

impl Reader {
    /// Who has to take as much as `pace` says.
    pub fn new(pace: Pace) -> Self {
        Self { pace, given: None }
    }

    /// It asks for more; whether it was fast enough with what it had.
    pub fn asks(&mut self) -> bool {
        let Some((since, bytes)) = self.given.take() else { return true };
        self.pace.moved(since.elapsed(), bytes)
    }

    /// It is given so many bytes; how long they may take.
    pub fn given(&mut self, bytes: u64) -> Duration {
        self.given = Some((Instant::now(), bytes));
        self.pace.time_for(bytes)
    }
}
