//! One thing wrong with a configuration: where it stands, what it is and what to do about it.
//!
//! Every reader of this module records into `Notes`, so that one run names every problem; the command line
//! and the reload show them through [`Problems`]. It must never stop at the first, and never say what without
//! how.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::config::limits::{PROBLEMS_SHOWN, QUOTED};
use crate::config::render;

/// Bytes of the file, from the first to behind the last.
pub type Span = Range<usize>;

/// One thing wrong, or worth knowing, with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it keeps the configuration from being used.
    pub severity: Severity,
    /// Line of the span's begin, from 1.
    pub line: usize,
    /// Column of the span's begin in characters, from 1.
    pub column: usize,
    /// The bytes of the file that it is about; empty where something is missing.
    pub span: Span,
    /// What is wrong, naming the thing.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} ({})", self.line, self.message, self.remedy)
    }
}

/// Whether a problem keeps the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It is used; the author should know.
    Warning,
}

/// Everything wrong with one file, in the order of its lines; never empty as an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", one_line(.0))]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The first [`PROBLEMS_SHOWN`] as rustc would show them, each with its source line and caret.
    ///
    /// `text` is what was loaded; `color` adds ANSI colours.
    pub fn render(&self, file_name: &str, text: &str, color: bool) -> String {
        render::problems(&self.0, file_name, text, color)
    }
}

/// What is wrong and what to do, before anybody knows where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct Fault {
    /// What is wrong, naming the thing.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl Fault {
    /// A fault of these words.
    pub fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }

    /// An error of another module, which says "what; what to do"; `remedy` where it says only what.
    pub fn of_sentence(error: &dyn std::error::Error, remedy: &str) -> Self {
        let sentence = error.to_string();
        let (message, remedy) = sentence.rsplit_once("; ").unwrap_or((&sentence, remedy));
        Self::new(message, remedy)
    }
}

/// A value from outside as a message quotes it: on one line, short, and without what stands before an `@`,
/// which may be a password.
pub fn quoted(text: &str) -> String {
    format!("`{}`", escaped(text))
}

/// The same without the quotes.
pub(super) fn escaped(text: &str) -> String {
    let public = text.rsplit_once('@').map_or(text, |(_, after)| after);
    let mut shown: String = public.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    if public.len() < text.len() {
        shown.insert_str(0, "…@");
    }
    if public.chars().nth(QUOTED).is_some() {
        shown.push('…');
    }
    shown
}

/// What the readers of one file have found so far.
pub(super) struct Notes<'a> {
    text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
    found: Vec<Found>,
    damage: Damage,
}

impl<'a> Notes<'a> {
    /// Nothing found yet in `text`; `env` answers for `${…}`.
    pub(super) fn new(text: &'a str, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { text, env, found: Vec::new(), damage: Damage::default() }
    }

    /// The environment that `${…}` is taken from.
    pub(super) fn env(&self) -> &'a dyn Fn(&str) -> Option<String> {
        self.env
    }

    /// The file's bytes of a span, as they were written.
    pub(super) fn source(&self, at: &Span) -> &'a str {
        self.text.get(at.clone()).unwrap_or("")
    }

    /// A place where the text isn't TOML. `tears` where it leaves open what belongs to what from there on.
    ///
    /// What other readers find on the same line, or behind a tear, is only its echo and is left out.
    pub(super) fn syntax(&mut self, at: Span, fault: Fault, tears: bool) {
        self.damage.lines.insert(self.line_start(at.start));
        if tears {
            self.damage.torn_at = Some(self.damage.torn_at.map_or(at.start, |first| first.min(at.start)));
        }
        self.found.push(Found { severity: Severity::Error, at, fault });
    }

    /// Something that stands in the file and is wrong.
    pub(super) fn wrong(&mut self, at: &Span, fault: Fault) {
        self.add(Severity::Error, at, fault);
    }

    /// Something that doesn't stand in the file; in a damaged file it may only be unreadable, and is left
    /// out.
    pub(super) fn absent(&mut self, at: &Span, fault: Fault) {
        if self.damage.lines.is_empty() {
            self.add(Severity::Error, at, fault);
        }
    }

    /// Something that is used as it stands, but that the author should know.
    pub(super) fn warn(&mut self, at: &Span, fault: Fault) {
        self.add(Severity::Warning, at, fault);
    }

    /// The value of a result, or a note of its fault.
    pub(super) fn accept<T>(&mut self, at: &Span, parsed: Result<T, Fault>) -> Option<T> {
        parsed.map_err(|fault| self.wrong(at, fault)).ok()
    }

    /// Problems and warnings, in the order of the file.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Problem>) {
        self.found.sort_by_key(|found| found.at.start);
        let mut place = Place { line: 1, column: 1, offset: 0 };
        let text = self.text;
        let placed = self.found.into_iter().map(|found| {
            place.advance(text, found.at.start);
            let (line, column) = (place.line, place.column);
            let Fault { message, remedy } = found.fault;
            Problem { severity: found.severity, line, column, span: found.at, message, remedy }
        });
        placed.partition(|problem| problem.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, at: &Span, fault: Fault) {
        let damage = &self.damage;
        // The line's begin is only looked for where there is damage: a long line of many problems stays
        // cheap.
        let echo = damage.torn_at.is_some_and(|torn| at.start >= torn)
            || (!damage.lines.is_empty() && damage.lines.contains(&self.line_start(at.start)));
        if !echo {
            self.found.push(Found { severity, at: at.clone(), fault });
        }
    }

    fn line_start(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1)
    }
}

/// A problem before its line is counted.
struct Found {
    severity: Severity,
    at: Span,
    fault: Fault,
}

/// Where the text isn't TOML.
#[derive(Default)]
struct Damage {
    /// Begins of the lines with a syntax error.
    lines: BTreeSet<usize>,
    /// From where on nobody knows what belongs to what.
    torn_at: Option<usize>,
}

/// Line and column of an offset, carried forward so that many problems of a long file cost one pass.
struct Place {
    line: usize,
    column: usize,
    offset: usize,
}

impl Place {
    fn advance(&mut self, text: &str, to: usize) {
        for c in text.get(self.offset..to).unwrap_or("").chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.offset = self.offset.max(to);
    }
}

fn one_line(problems: &[Problem]) -> String {
    let shown = problems.iter().take(PROBLEMS_SHOWN).map(ToString::to_string);
    shown.chain(render::more(problems.len())).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        Fault::new("wrong", "right")
    }

    #[test]
    fn places_count_characters_and_lines_from_one() {
        let mut notes = Notes::new("aé = 1\nbb = 2", &|_| None);
        notes.wrong(&(11..12), fault());
        notes.wrong(&(4..5), fault());
        let (problems, warnings) = notes.finish();
        let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
        assert_eq!(places, [(1, 4), (2, 4)]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn echoes_of_a_syntax_error_are_left_out() {
        let mut notes = Notes::new("a = 1\nb = 2\nc = 3\nd = 4\n", &|_| None);
        notes.syntax(6..7, fault(), false);
        notes.syntax(12..13, fault(), true);
        notes.wrong(&(0..1), fault());
        notes.wrong(&(10..11), fault());
        notes.wrong(&(18..19), fault());
        notes.absent(&(0..1), fault());
        let lines: Vec<_> = notes.finish().0.iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 2, 3]);
    }

    #[test]
    fn what_is_quoted_is_short_on_one_line_and_tells_no_password() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted("postgres://me:secret@db/x"), "`…@db/x`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(QUOTED)));
        assert_eq!(quoted("\u{1b}[31m\u{202e}"), "`\\u{1b}[31m\\u{202e}`");
    }

    #[test]
    fn a_log_line_names_line_message_and_remedy() {
        let mut notes = Notes::new("a\nb", &|_| None);
        notes.wrong(&(0..1), fault());
        notes.wrong(&(2..3), fault());
        let problems = Problems(notes.finish().0);
        assert_eq!(problems.to_string(), "line 1: wrong (right); line 2: wrong (right)");
        let many = Problems(problems.0.into_iter().cycle().take(1000).collect());
        assert!(many.to_string().ends_with("; line 2: wrong (right); ... and 900 more problems"), "{many}");
    }
}
