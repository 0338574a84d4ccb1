//! Problems as text for people, in the way of rustc: message, place, source line, caret, help.
//!
//! `Problems::render` calls it. It must never let a file's control characters reach the terminal.

use std::fmt::Write;

use crate::config::problem::{Problem, Severity};

/// Characters of a source line that are shown at most.
const WIDEST: usize = 160;

/// All problems, a blank line between them.
pub(super) fn problems(problems: &[Problem], file_name: &str, text: &str, color: bool) -> String {
    let paint = Paint { color };
    let mut out = String::new();
    for (i, problem) in problems.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        one(&mut out, problem, file_name, text, paint);
    }
    out
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
    let carets = format!("{}{}", " ".repeat(excerpt.before), paint.on(ansi, &"^".repeat(excerpt.carets)));
    let lines = [
        format!("{}{}", paint.on(ansi, word), paint.on(Paint::BOLD, &format!(": {}", problem.message))),
        format!("{margin}{} {place}", paint.on(Paint::BLUE, "-->")),
        format!("{margin} {bar}"),
        format!("{} {bar} {}", paint.on(Paint::BLUE, &number), excerpt.line).trim_end().to_owned(),
        format!("{margin} {bar} {carets}"),
        format!("{margin} {bar}"),
        format!(
            "{margin} {} {}: {}",
            paint.on(Paint::BLUE, "="),
            paint.on(Paint::BOLD, "help"),
            problem.remedy
        ),
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
        let line = source_line(text, problem.span.start);
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
    fn colours_are_only_there_when_asked_for() {
        let shown = Problems(vec![problem(1, 1, 0..1)]).render("x.toml", "a", true);
        assert!(shown.starts_with("\x1b[1;31merror\x1b[0m"), "{shown:?}");
    }
}
