//! A door to the journal's lines, which are private to it.

#[path = "../../../src/control/journal/line.rs"]
mod line;

use serde_json::Value;

pub use line::Entry;
use line::{Line, Reading};

/// What a journal of these bytes amounts to.
pub struct Read {
    /// The good lines, the oldest first, as they stand in a file.
    pub lines: Vec<Vec<u8>>,
    /// What is in them; nothing where it isn't an entry.
    pub entries: Vec<Option<Entry<Value>>>,
    /// Lines that can't be read.
    pub bad: usize,
    /// Bytes behind the last line's end.
    pub torn: usize,
}

/// Reads a journal.
pub fn read(bytes: &[u8], cut: bool) -> Read {
    let reading = Reading::of(bytes, cut);
    let entries = reading.lines.iter().map(Line::entry).collect();
    let lines = reading.lines.iter().map(|line| line.bytes().to_vec()).collect();
    Read { lines, entries, bad: reading.bad, torn: reading.torn }
}

/// The line of an entry; nothing where it is too large.
pub fn line(entry: &Entry<Value>) -> Option<Vec<u8>> {
    Line::of(entry).ok().map(|line| line.bytes().to_vec())
}
