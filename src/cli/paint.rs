//! Colour for a terminal, and none for anything else.
//!
//! The verbs that show something paint by it. It must never be the only one to say a thing.

use std::io::{self, IsTerminal};

/// How a piece of text is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// As it comes.
    Plain,
    /// What matters now.
    Bold,
    /// What can be overlooked.
    Faint,
    /// The backend that a rollback returns to.
    Stable,
    /// Any other.
    Candidate,
    /// Something isn't well.
    Bad,
}

/// Whether there is colour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    /// Colour where standard output is a terminal and nobody minds.
    pub(super) fn of_output() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self(io::stdout().is_terminal() && !dumb && !is_unwanted())
    }

    /// The text, painted.
    pub(super) fn on(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Bold => "1",
            Ink::Faint => "2",
            Ink::Stable => "35",
            Ink::Candidate => "36",
            Ink::Bad => "1;31",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text, painted, in a column of this width.
    pub(super) fn column(self, ink: Ink, text: &str, width: usize) -> String {
        let blanks = width.saturating_sub(text.chars().count());
        self.on(ink, text) + &" ".repeat(blanks)
    }
}

/// Whether NO_COLOR says so (https://no-color.org).
pub(super) fn is_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
