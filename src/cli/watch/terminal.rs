//! The terminal while it is ours: taken, drawn on, given back.
//!
//! `watch` has one. However it ends (a key, a signal, an error, a panic), the terminal must never be left changed.

use std::io::{self, IsTerminal};
use std::thread;
use std::time::Instant;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event;
use tokio::sync::mpsc::Sender;

use crate::cli::watch::Happening;
use crate::cli::watch::page;
use crate::cli::watch::scene::Scene;

/// A terminal that is ours.
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes it. A panic gives it back before it is told.
    pub(super) fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    /// Draws what is seen now.
    pub(super) fn draw(&mut self, scene: &Scene, now: Instant) -> io::Result<()> {
        self.0.draw(|frame| page::draw(scene, now, frame.area(), frame.buffer_mut())).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// Whether somebody sees what is drawn and can press keys.
pub(super) fn is_there() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb
}

/// Reads keys on a thread of its own, which the end of the process ends: reading can't be called off.
pub(super) fn read_keys(happen: Sender<Happening>) -> io::Result<()> {
    let read = move || {
        loop {
            let event = event::read();
            let last = event.is_err();
            if happen.blocking_send(Happening::Terminal(event)).is_err() || last {
                break;
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(read).map(|_| ())
}
