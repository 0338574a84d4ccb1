//! Everything that the live view shows at one moment.
//!
//! `watch` brings news and keys to it, `page` sets it. It must never say that something is live which the proxy hasn't
//! said.

use std::time::Instant;

use ratatui::crossterm::event::KeyEvent;

use crate::admin::types::Status;
use crate::cli::figures::plain;
use crate::cli::watch::desk::{Desk, Effect};
use crate::cli::watch::link::News;
use crate::cli::watch::traces::Traces;
use crate::config::limits::WATCH_STALE;

/// What is seen.
#[derive(Debug)]
pub(super) struct Scene {
    /// Where the proxy is.
    pub(super) place: String,
    /// Whether there is colour.
    pub(super) colour: bool,
    /// What the proxy told last.
    pub(super) status: Status,
    /// The last minute.
    pub(super) traces: Traces,
    /// What is chosen.
    pub(super) desk: Desk,
    /// What was said last, and whether it is bad news.
    pub(super) message: Option<(String, bool)>,
    seen: Instant,
    lost: Option<String>,
    /// What was said is of no use any more once the proxy is heard.
    until_heard: bool,
}

impl Scene {
    /// What is seen first.
    pub(super) fn new(place: String, colour: bool, status: Status, now: Instant) -> Self {
        let (traces, desk) = (Traces::default(), Desk::default());
        let (seen, lost, until_heard) = (now, None, false);
        let mut scene = Self { place, colour, status, traces, desk, message: None, seen, lost, until_heard };
        scene.trace();
        scene
    }

    /// The proxy has told something.
    pub(super) fn learn(&mut self, news: News, now: Instant) {
        match news {
            News::Series(series) => self.traces = Traces::of(&series),
            News::Lost(why) => self.lost = Some(plain(&why)),
            News::Status(status) => {
                if self.until_heard && self.lost.is_some() {
                    (self.message, self.until_heard) = (None, false);
                }
                (self.status, self.seen, self.lost) = (*status, now, None);
                self.trace();
            }
        }
    }

    /// Somebody has pressed a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Effect> {
        self.message = None;
        self.desk.press(key, &self.status)
    }

    /// Something is to be said.
    pub(super) fn say(&mut self, words: &str, bad: bool) {
        (self.message, self.until_heard) = (Some((plain(words), bad)), false);
    }

    /// There was no proxy to ask: bad news that the next status takes back.
    pub(super) fn say_absent(&mut self, words: &str) {
        self.say(words, true);
        self.until_heard = true;
    }

    /// For how many seconds nothing was heard, and why, where that is too long.
    pub(super) fn stale(&self, now: Instant) -> Option<(f64, &str)> {
        let age = now.saturating_duration_since(self.seen);
        let why = self.lost.as_deref().unwrap_or("the proxy says nothing");
        (self.lost.is_some() || age > WATCH_STALE).then_some((age.as_secs_f64(), why))
    }

    fn trace(&mut self) {
        if let Ok(at) = self.status.at.parse::<jiff::Timestamp>() {
            self.traces.see(at.as_second(), &self.status);
        }
    }
}
