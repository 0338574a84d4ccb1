//! Standard output: a terminal that is drawn anew in place, or lines that somebody else reads.
//!
//! `stage` writes to it. However the demo ends, a terminal must never be left changed.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::page::page;
use super::plain;
use super::view::{Places, View};

/// Another page of the terminal, without cursor and line breaks of its own …
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
/// … and everything as it was.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// How often a terminal is drawn: changes seem immediate, and reading isn't disturbed.
pub(super) const FRAME: Duration = Duration::from_millis(200);

/// Where the view goes.
#[derive(Debug)]
pub(super) enum Screen {
    /// A terminal.
    Terminal(Terminal),
    /// A pipe or a file.
    Lines(Lines),
}

impl Screen {
    /// Says what to know before, and begins.
    ///
    /// # Errors
    /// When nobody reads.
    pub(super) fn open(places: &Places) -> io::Result<Self> {
        write_lines(&plain::greeting(places))?;
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !io::stdout().is_terminal() || is_dumb {
            write_lines(&plain::heading())?;
            return Ok(Self::Lines(Lines::default()));
        }
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        write(ENTER)?;
        Ok(Self::Terminal(Terminal { in_colour: !no_colour }))
    }

    /// Shows the view as it is now.
    ///
    /// # Errors
    /// When nobody reads.
    pub(super) fn show(&mut self, view: &View, places: &Places) -> io::Result<()> {
        match self {
            Self::Terminal(terminal) => terminal.draw(view, places),
            Self::Lines(lines) => lines.go_on(view),
        }
    }

    /// Shows for the last time, and what was seen in all.
    ///
    /// # Errors
    /// When nobody reads.
    pub(super) fn close(self, view: &View) -> io::Result<()> {
        // Back to the lines that were there before; what is said last stays.
        drop(self);
        write_lines(&plain::summary(view))
    }
}

/// A terminal while it is ours.
#[derive(Debug)]
pub(super) struct Terminal {
    in_colour: bool,
}

impl Terminal {
    fn draw(&self, view: &View, places: &Places) -> io::Result<()> {
        let mut frame = String::with_capacity(8 * 1024);
        for (row, line) in page(view, places).iter().enumerate() {
            // By its row: on a lower terminal nothing scrolls.
            frame.push_str(&format!("\x1b[{};1H{}\x1b[K", row + 1, line.painted(self.in_colour)));
        }
        write(&frame)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = write(LEAVE);
    }
}

/// How far the lines have come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    events: usize,
    seconds: u64,
}

impl Lines {
    fn go_on(&mut self, view: &View) -> io::Result<()> {
        let new = view.chronicle.entries.iter().skip(self.events);
        let mut lines: Vec<String> = new.map(|(at, words)| plain::event(*at, words)).collect();
        self.events = view.chronicle.entries.len();
        if view.now.as_secs() > self.seconds {
            self.seconds = view.now.as_secs();
            lines.push(plain::second(view));
        }
        write_lines(&lines)
    }
}

fn write_lines(lines: &[String]) -> io::Result<()> {
    write(&lines.iter().flat_map(|line| [line, "\n"]).collect::<String>())
}

/// At once and whole.
fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
