//! How long all attempts of one request may take together.
//!
//! `forward` makes one before the first attempt and asks it before each wait. It must never be renewed: who waits
//! doesn't care how many attempts there were.

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
    first_byte: Duration,
}

impl Patience {
    /// Of a request whose first attempt begins `now`, at a backend with these timeouts.
    pub fn of(timeouts: &BackendTimeouts, now: Instant) -> Self {
        Self { connected: now + timeouts.connect, first_byte: timeouts.first_byte }
    }

    /// When it ends; nothing while the visitor still sends, which has a deadline of its own.
    pub fn end(self, upload: Option<&Rc<UploadState>>) -> Option<Instant> {
        let sent = upload.map_or(Some(self.connected), |upload| upload.ended())?;
        Some(sent.max(self.connected) + self.first_byte)
    }

    /// How much is left `now` for another connection.
    pub fn left(self, now: Instant, upload: Option<&Rc<UploadState>>) -> Duration {
        self.end(upload).map_or(Duration::MAX, |end| end.saturating_duration_since(now))
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
        assert_eq!(patience.left(began + s(20), None), s(15));
        assert_eq!(patience.left(began + s(40), None), s(0));
        let sending = Rc::new(UploadState::default());
        assert_eq!(patience.end(Some(&sending)), None);
        assert_eq!(patience.left(began + s(400), Some(&sending)), Duration::MAX);
    }
}
