//! A change as a line of the journal: 16 hex digits of XXH3-64, a space, JSON, a line's end.
//!
//! `writer` and `disk` keep lines whatever is in them; `Journal` makes them from entries and entries from them. It
//! must never take a line whose sum is wrong, nor panic, whatever the bytes.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::limits::{HISTORY, JOURNAL_KEPT, JOURNAL_LINE};
use crate::control::record::Record;

/// One change, and all that it left behind: the last entry alone is the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry<O> {
    /// Who changed what, when and why.
    pub record: Record,
    /// Every override after it.
    pub overrides: O,
}

/// A whole line, its end included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Line(Arc<[u8]>);

impl Line {
    /// Of an entry. One of thousands of routes may be too large; then its record goes without what it changed, since
    /// the overrides are what counts.
    ///
    /// # Errors
    /// It is too large even so.
    pub(super) fn of<O: Serialize>(entry: &Entry<O>) -> Result<Self, Unkeepable> {
        let Entry { record, overrides } = entry;
        let whole = Self::from_json(&serde_json::to_string(&Shown { record, overrides })?);
        if whole.0.len() <= JOURNAL_LINE {
            return Ok(whole);
        }
        let record = &Record { changes: Vec::new(), ..record.clone() };
        let brief = Self::from_json(&serde_json::to_string(&Shown { record, overrides })?);
        if brief.0.len() <= JOURNAL_LINE { Ok(brief) } else { Err(Unkeepable::TooLarge) }
    }

    /// The entry of it; nothing where another version of us wrote it, in a way that we don't know.
    pub(super) fn entry<O: DeserializeOwned>(&self) -> Option<Entry<O>> {
        serde_json::from_slice(self.0.get(JSON..)?).ok()
    }

    /// Its bytes, the line's end included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// From what stands before a line's end.
    fn read(text: &[u8]) -> Option<Self> {
        let (sum, json) = (text.get(..SUM)?, text.get(JSON..)?);
        if text.len() >= JOURNAL_LINE || text[SUM] != b' ' || hex(xxh3_64(json)).as_bytes() != sum {
            return None;
        }
        Some(Self([text, b"\n"].concat().into()))
    }

    /// From the end of what stands before a line's end, where that of the line before was lost: ` {"` stands nowhere
    /// inside our JSON.
    fn read_end(text: &[u8]) -> Option<Self> {
        let brace = memchr::memmem::rfind(text, b" {\"")?;
        Self::read(&text[brace.checked_sub(SUM)?..])
    }

    fn from_json(json: &str) -> Self {
        Self(format!("{} {json}\n", hex(xxh3_64(json.as_bytes()))).into_bytes().into())
    }
}

/// The last lines, the oldest first: at most [`HISTORY`], and [`JOURNAL_KEPT`] bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Lines {
    /// Adds one; the oldest make room.
    pub(super) fn push(&mut self, line: Line) {
        self.bytes += line.0.len();
        self.lines.push_back(line);
        while self.lines.len() > HISTORY || self.bytes > JOURNAL_KEPT {
            self.bytes -= self.lines.pop_front().map_or(0, |oldest| oldest.0.len());
        }
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.lines.iter()
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.lines.len()
    }

    /// The last `count` as they stand in a file.
    pub(super) fn tail(&self, count: usize) -> Vec<u8> {
        let skipped = self.count().saturating_sub(count);
        self.iter().skip(skipped).map(Line::bytes).collect::<Vec<_>>().concat()
    }

    /// How many, counted from the end, are newer than everything in `file`: those behind the last that it has.
    pub(super) fn newer_than(&self, file: &Self) -> usize {
        let held: HashSet<&Line> = file.iter().collect();
        self.iter().rev().take_while(|line| !held.contains(line)).count()
    }
}

/// What is in a journal.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Its last good lines.
    pub(super) lines: Lines,
    /// How many lines it has that are good or bad.
    pub(super) count: usize,
    /// How many lines can't be read.
    pub(super) bad: usize,
    /// Bytes behind the last line's end: of a line whose writing was cut short.
    pub(super) torn: usize,
    /// It was too large, and its beginning wasn't looked at.
    pub(super) cut: bool,
}

impl Reading {
    /// Of a journal's bytes; with `cut` they begin anywhere.
    pub(super) fn of(mut bytes: &[u8], cut: bool) -> Self {
        let mut reading = Self { cut, ..Self::default() };
        if cut {
            bytes = memchr::memchr(b'\n', bytes).map_or(&[], |end| &bytes[end + 1..]);
        }
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            reading.take(&bytes[..end]);
            bytes = &bytes[end + 1..];
        }
        reading.torn = bytes.len();
        reading
    }

    /// Whether it must be written anew, and what is there be kept for a person to look at. A torn end alone, which
    /// was never promised to anybody, is only cut off.
    pub(super) fn is_broken(&self) -> bool {
        self.bad > 0 || self.cut || (self.torn > 0 && self.count == 0)
    }

    fn take(&mut self, text: &[u8]) {
        self.count += 1;
        let whole = Line::read(text);
        if whole.is_none() {
            self.bad += 1;
        }
        if let Some(line) = whole.or_else(|| Line::read_end(text)) {
            self.lines.push(line);
        }
    }
}

/// An entry that no line takes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unkeepable {
    /// Its overrides are larger than any configuration.
    #[error("the change is too large to be kept")]
    TooLarge,
    /// It has no form.
    #[error("the change can't be written down: {0}")]
    Json(#[from] serde_json::Error),
}

/// An [`Entry`] as it is written.
#[derive(Serialize)]
struct Shown<'a, O> {
    record: &'a Record,
    overrides: &'a O,
}

/// Digits of the sum.
const SUM: usize = 16;
/// Where the JSON begins.
const JSON: usize = SUM + 1;

fn hex(sum: u64) -> String {
    format!("{sum:016x}")
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
