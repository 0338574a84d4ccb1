//! Problems as text for people, in the way of rustc: message, place, source line, caret, help.
//!
//! `Problems::render` calls it. It must never let a file's control characters reach the terminal, nor a password
//! that stands in a URL, and never show more than a person would read.

use std::fmt::Write;

use crate::config::limits::PROBLEMS_SHOWN;
use crate::config::problem::{Problem, Severity};

/// Characters of a source line that are shown at most.
const WIDEST: usize = 160;

/// The first [`PROBLEMS_SHOWN`] problems, a blank line between them.
pub(super) fn problems(problems: &[Problem], file_name: &str, text: &str, color: bool) -> String {
    let paint = Paint { color };
    let mut out = String::new();
    for (i, problem) in problems.iter().take(PROBLEMS_SHOWN).enumerate() {
        if i > 0 {
            out.push('\n');
        }
        one(&mut out, problem, file_name, text, paint);
    }
    if let Some(more) = more(problems.len()) {
        out += &format!("\n{more}\n");
    }
    out
}

/// How many of `count` problems aren't shown, where any aren't.
pub(super) fn more(count: usize) -> Option<String> {
    match count.saturating_sub(PROBLEMS_SHOWN) {
        0 => None,
        1 => Some("... and 1 more problem".to_owned()),
        more => Some(format!("... and {more} more problems")),
    }
}

/// ANSI colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    const RED: &str = "\x1b[1;31m";
    const YELLOW: &str = "\x1b[1;33m";
    const BLUE: &str = "\x1b[1;34m";
    const BOLD: &str = "\x1b[1m";

    fn on(self, ansi: &str, text: &str) -> String {
        if self.color { format!("{ansi}{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn one(out: &mut String, problem: &Problem, file_name: &str, text: &str, paint: Paint) {
    let (word, ansi) = match problem.severity {
        Severity::Error => ("error", Paint::RED),
        Severity::Warning => ("warning", Paint::YELLOW),
    };
    let number = problem.line.to_string();
    let margin = " ".repeat(number.len());
    let excerpt = Excerpt::of(problem, text);
    let bar = paint.on(Paint::BLUE, "|");
    let place = format!("{file_name}:{}:{}", problem.line, problem.column);
    let message: String = problem.message.chars().map(printable).collect();
    let remedy: String = problem.remedy.chars().map(printable).collect();
    let carets = format!("{}{}", " ".repeat(excerpt.before), paint.on(ansi, &"^".repeat(excerpt.carets)));
    let lines = [
        format!("{}{}", paint.on(ansi, word), paint.on(Paint::BOLD, &format!(": {message}"))),
        format!("{margin}{} {place}", paint.on(Paint::BLUE, "-->")),
        format!("{margin} {bar}"),
        format!("{} {bar} {}", paint.on(Paint::BLUE, &number), excerpt.line).trim_end().to_owned(),
        format!("{margin} {bar} {carets}"),
        format!("{margin} {bar}"),
        format!("{margin} {} {}: {remedy}", paint.on(Paint::BLUE, "="), paint.on(Paint::BOLD, "help")),
    ];
    for line in lines {
        // Writing into a String can't fail.
        let _ = writeln!(out, "{line}");
    }
}

/// The part of a source line that a problem is about.
struct Excerpt {
    line: String,
    /// Characters before the caret.
    before: usize,
    /// How many carets, at least one.
    carets: usize,
}

impl Excerpt {
    fn of(problem: &Problem, text: &str) -> Self {
        let line = masked(source_line(text, problem.span.start));
        let start = problem.column - 1;
        let spanned = text.get(problem.span.clone()).unwrap_or("");
        let carets = spanned.chars().take_while(|&c| c != '\n' && c != '\r').count();
        let skipped = if start > WIDEST / 2 { start - WIDEST / 4 } else { 0 };
        let shown: String = line.chars().skip(skipped).take(WIDEST).map(printable).collect();
        let before = start - skipped;
        let room = WIDEST.saturating_sub(before).max(1);
        Self { line: shown, before, carets: carets.clamp(1, room) }
    }
}

/// The line that an offset stands on, without its end.
fn source_line(text: &str, offset: usize) -> &str {
    let (before, after) = text.split_at_checked(offset).unwrap_or((text, ""));
    let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = after.find('\n').map_or(text.len(), |length| before.len() + length);
    let line = &text[begin..end];
    line.strip_suffix('\r').unwrap_or(line)
}

/// A line without what may be a password: from `//`, or from the first quote or `=` where there is none, to the last
/// `@`. Each character becomes one `*`, so that the caret stands right.
fn masked(line: &str) -> String {
    let Some((before, after)) = line.rsplit_once('@') else {
        return line.to_owned();
    };
    let begin = ["//", "\"", "'", "="].iter().find_map(|mark| Some(before.find(mark)? + mark.len()));
    let (open, secret) = before.split_at(begin.unwrap_or(before.len()));
    format!("{open}{}@{after}", "*".repeat(secret.chars().count()))
}

/// Tabs as one space, so that the caret stands right; control and zero-width characters as a mark, so that a
/// file can't draw on the terminal.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::{Problems, Span};

    fn problem(line: usize, column: usize, span: Span) -> Problem {
        let (message, remedy) = ("wrong".to_owned(), "right".to_owned());
        Problem { severity: Severity::Error, line, column, span, message, remedy }
    }

    #[test]
    fn the_caret_stands_under_what_is_wrong() {
        let text = "\ta = \"é\" # x\r\nb = 1";
        let shown = Problems(vec![problem(1, 6, 5..9)]).render("x.toml", text, false);
        let wanted =
            "error: wrong\n --> x.toml:1:6\n  |\n1 |  a = \"é\" # x\n  |      ^^^\n  |\n  = help: right\n";
        assert_eq!(shown, wanted);
    }

    #[test]
    fn something_missing_at_the_end_has_one_caret() {
        let shown = Problems(vec![problem(2, 1, 4..4)]).render("x.toml", "a=1\n", false);
        assert!(shown.contains("2 |\n  | ^\n"), "{shown}");
    }

    #[test]
    fn a_file_cannot_draw_on_the_terminal_or_flood_it() {
        let text = format!("a = \"\x1b[31m\u{202e}{}\"", "x".repeat(100_000));
        let shown = Problems(vec![problem(1, 5, 4..text.len())]).render("x.toml", &text, false);
        assert!(!shown.contains('\x1b') && !shown.contains('\u{202e}'));
        assert!(shown.len() < 1000, "{}", shown.len());
        let shown = Problems(vec![problem(1, 50_000, 50_000..50_010)]).render("x.toml", &text, false);
        assert!(shown.len() < 1000, "{}", shown.len());
    }

    #[test]
    fn no_message_draws_on_the_terminal_either() {
        let message = "unknown key \x1b[31mEVIL".to_owned();
        let problem = Problem { message, remedy: "\u{202e}".to_owned(), ..problem(1, 1, 0..1) };
        let shown = Problems(vec![problem]).render("x.toml", "a", false);
        assert!(!shown.contains('\x1b') && !shown.contains('\u{202e}'), "{shown:?}");
    }

    #[test]
    fn passwords_are_masked_one_for_one() {
        for (line, shown) in [
            ("url=\"https://me:secret@a\"", "url=\"https://*********@a\""),
            ("urls = ['http://a', 'http://é:x@y/@b'] # c", "urls = ['http://******************@b'] # c"),
            ("url = \"me:secret@a\" # see https://x", "url = \"*********@a\" # see https://x"),
            ("url =me:secret@a", "url =*********@a"),
            ("secret@a", "secret@a"),
            ("url = \"https://a\"", "url = \"https://a\""),
        ] {
            assert_eq!(masked(line), shown);
            assert_eq!(line.chars().count(), shown.chars().count());
        }
        let text = "url = \"https://me:secret@a\"";
        let shown = Problems(vec![problem(1, 7, 6..text.len())]).render("x.toml", text, false);
        assert!(shown.contains("1 | url = \"https://*********@a\"\n  |       ^"), "{shown}");
    }

    #[test]
    fn of_many_problems_a_hundred_are_shown_and_the_rest_is_counted() {
        let shown = |count| Problems(vec![problem(1, 1, 0..1); count]).render("x.toml", "a", false);
        let errors = |text: &str| text.lines().filter(|line| line.starts_with("error")).count();
        assert!(errors(&shown(100)) == 100 && !shown(100).contains("more"));
        assert!(errors(&shown(250)) == 100 && shown(250).ends_with("right\n\n... and 150 more problems\n"));
        assert!(shown(101).ends_with("... and 1 more problem\n"));
    }

    #[test]
    fn colours_are_only_there_when_asked_for() {
        let shown = Problems(vec![problem(1, 1, 0..1)]).render("x.toml", "a", true);
        assert!(shown.starts_with("\x1b[1;31merror\x1b[0m"), "{shown:?}");
    }
}
