//! How long all attempts of one request at one backend may take together.
//!
//! `forward` makes one with each backend, of which there are two at most, and asks it before each wait. It must never
//! be renewed for further attempts at the same: who waits doesn't care how many there were. Nor may what it cuts short
//! be held against who had no more time.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::model::BackendTimeouts;
use crate::upstream::upload::UploadState;

/// The deadline of all attempts: as long as the first one alone could have taken, connecting with its response.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// By when the first one is connected at the latest.
    connected: Instant,
    connect: Duration,
    first_byte: Duration,
}

impl Patience {
    /// Of a request whose first attempt begins `now`, at a backend with these timeouts.
    pub fn of(timeouts: &BackendTimeouts, now: Instant) -> Self {
        let &BackendTimeouts { connect, first_byte, .. } = timeouts;
        Self { connected: now + connect, connect, first_byte }
    }

    /// How long another connection may take from `now` on, and whether that is less than the backend may take else.
    pub fn to_connect(self, now: Instant, upload: Option<&Rc<UploadState>>) -> (Duration, bool) {
        let left = self.end(upload).map_or(Duration::MAX, |end| end.saturating_duration_since(now));
        (left.min(self.connect), left < self.connect)
    }

    /// By when a response has to begin whose request had gone at `sent`, and whether that is sooner than else.
    pub fn to_answer(self, sent: Instant, upload: Option<&Rc<UploadState>>) -> (Instant, bool) {
        let due = sent + self.first_byte;
        let end = self.end(upload).unwrap_or(due);
        (end.min(due), end < due)
    }

    /// How long a backend may think.
    pub fn first_byte(self) -> Duration {
        self.first_byte
    }

    /// When it ends; nothing while the visitor still sends, which has a deadline of its own.
    fn end(self, upload: Option<&Rc<UploadState>>) -> Option<Instant> {
        let sent = upload.map_or(Some(self.connected), |upload| upload.ended())?;
        Some(sent.max(self.connected) + self.first_byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_attempts_get_what_the_first_has_left() {
        let (began, s) = (Instant::now(), Duration::from_secs);
        let timeouts = BackendTimeouts { connect: s(5), first_byte: s(30), pool_idle: s(50) };
        let patience = Patience::of(&timeouts, began);
        assert_eq!(patience.end(None), Some(began + s(35)));
        assert_eq!(patience.to_connect(began + s(30), None), (s(5), false));
        assert_eq!(patience.to_connect(began + s(32), None), (s(3), true), "it is cut short");
        assert_eq!(patience.to_connect(began + s(40), None), (s(0), true));
        assert_eq!(patience.to_answer(began + s(5), None), (began + s(35), false));
        assert_eq!(patience.to_answer(began + s(6), None), (began + s(35), true));
        let sending = Rc::new(UploadState::default());
        assert_eq!(patience.end(Some(&sending)), None);
        assert_eq!(patience.to_connect(began + s(400), Some(&sending)), (s(5), false));
    }
}
