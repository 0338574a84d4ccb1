//! A Rust file as the checks read it: its lines, its code without comments and literals, its functions.
//!
//! Built by `main` from the tree and by each check's self-test from a sample. It must never need a compiler:
//! a file that doesn't parse yet is still held to its limits.

use std::ops::Range;
use std::path::Path;

/// One file.
pub(crate) struct Source {
    /// Its path below the package, with `/`: `src/proxy/retry.rs`.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
    /// Every comment and the content of every literal blanked out, line for line.
    pub(crate) code: String,
    /// Whether another file declares all of it under `#[cfg(test)]`.
    pub(crate) whole_test: bool,
    /// Lines (from 0) of the code that is compiled for tests alone.
    tests: Vec<Range<usize>>,
}

/// A function with a body.
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Its first line, from 0.
    pub(crate) line: usize,
    /// Its lines, from `fn` to the closing brace.
    pub(crate) length: usize,
}

impl Source {
    /// Reads a file below `root`.
    pub(crate) fn read(root: &Path, file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("a file that was just listed");
        let path = file.strip_prefix(root).expect("files are listed below the root");
        Self::new(&path.to_string_lossy(), &text)
    }

    /// A file of this path and text.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let tests = test_items(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, tests, whole_test: false }
    }

    /// Lines of code, with their numbers from 0.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate()
    }

    /// Lines of code that visitors depend on: those that aren't compiled for tests alone.
    pub(crate) fn live_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(line, _)| !self.is_test(*line))
    }

    /// The live code alone, line for line.
    pub(crate) fn live_code(&self) -> String {
        let keep = |(line, code)| if self.is_test(line) { "" } else { code };
        self.lines().map(keep).collect::<Vec<_>>().join("\n")
    }

    /// `path:line`, as editors take it.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{}", self.path, line + 1)
    }

    /// Every function with a body, those of tests too.
    pub(crate) fn functions(&self) -> Vec<Function> {
        words(&self.code, "fn").filter_map(|at| self.function_at(at)).collect()
    }

    /// The paths of the files that this one declares as modules under `#[cfg(test)]`.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let marks = self.code.match_indices(TEST_ONLY);
        marks.filter_map(|(at, mark)| self.test_module(at + mark.len())).collect()
    }

    fn test_module(&self, at: usize) -> Option<String> {
        let (item, path) = attributes(&self.text[at..]);
        let name = item
            .trim_start_matches("pub ")
            .trim_start_matches("pub(super) ")
            .strip_prefix("mod ")?
            .split_once(';')?
            .0;
        let (folder, file) = self.path.rsplit_once('/')?;
        let inner = file.trim_end_matches(".rs");
        Some(match path {
            Some(path) => format!("{folder}/{path}"),
            None if matches!(inner, "mod" | "lib" | "main") => format!("{folder}/{name}.rs"),
            None => format!("{folder}/{inner}/{name}.rs"),
        })
        .filter(|_| name.chars().all(is_word))
    }

    fn function_at(&self, at: usize) -> Option<Function> {
        let rest = self.code[at + 2..].trim_start();
        let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
        let open = body_start(&self.code, at)?;
        let end = closing(&self.code, open);
        let line = line_of(&self.code, at);
        let length = line_of(&self.code, end) - line + 1;
        (!name.is_empty()).then_some(Function { name, line, length })
    }

    fn is_test(&self, line: usize) -> bool {
        self.whole_test || self.tests.iter().any(|t| t.contains(&line))
    }
}

/// What stands before an item that is compiled for tests alone.
const TEST_ONLY: &str = "#[cfg(test)]";

/// The item behind further attributes, and the path that one of them gives it.
fn attributes(text: &str) -> (&str, Option<&str>) {
    let (mut rest, mut path) = (text.trim_start(), None);
    while let Some((attribute, behind)) = rest.strip_prefix("#[").and_then(|rest| rest.split_once(']')) {
        path = attribute.strip_prefix("path = \"").map(|path| path.trim_end_matches('"')).or(path);
        rest = behind.trim_start();
    }
    (rest, path)
}

/// Where `word` stands as a word of its own.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether a character can stand in a name.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The number of the line, from 0, that a byte stands in.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|b| *b == b'\n').count()
}

/// The `{` of the function at `at`; nothing for a declaration, which ends in `;`.
fn body_start(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (i, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(i),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The `}` that answers the `{` at `open`, or the end.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (i, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return i;
        }
    }
    code.len()
}

/// The lines of each item that stands under `#[cfg(test)]`.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let marks = code.match_indices(TEST_ONLY);
    marks
        .map(|(at, mark)| {
            let end = body_start(code, at + mark.len()).map_or_else(
                || code[at..].find(';').map_or(code.len(), |i| at + i),
                |open| closing(code, open),
            );
            line_of(code, at)..line_of(code, end) + 1
        })
        .collect()
}

/// `text` with its comments and what its literals contain turned to blanks; lines and bytes keep their
/// places.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (skip, inner) = token(bytes, at);
        for byte in code[at..][inner].iter_mut().filter(|b| **b != b'\n') {
            *byte = b' ';
        }
        at += skip;
    }
    String::from_utf8(code).expect("only whole comments and literals are blanked")
}

/// The length of what stands at `at`, and the part of it to blank.
fn token(bytes: &[u8], at: usize) -> (usize, Range<usize>) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        return (end, 0..end);
    }
    if rest.starts_with(b"/*") {
        let end = block_comment(rest);
        return (end, 0..end);
    }
    let inside_word = at > 0 && is_word(char::from(bytes[at - 1]));
    if let Some((open, hashes)) = raw_string(rest).filter(|_| !inside_word) {
        let end = raw_end(rest, open, hashes);
        return (end + 1 + hashes, open..end);
    }
    match rest[0] {
        b'"' => quoted(rest, b'"'),
        b'\'' if is_char_literal(rest) => quoted(rest, b'\''),
        _ => (1, 0..0),
    }
}

/// The length of a block comment, nested ones within.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where the content of a raw string starts and how many `#` end it: `r"`, `br#"`, `cr##"`.
fn raw_string(rest: &[u8]) -> Option<(usize, usize)> {
    let prefix = rest.iter().take_while(|b| matches!(b, b'b' | b'c')).count();
    if prefix > 1 || rest.get(prefix) != Some(&b'r') {
        return None;
    }
    let hashes = rest[prefix + 1..].iter().take_while(|b| **b == b'#').count();
    let quote = prefix + 1 + hashes;
    (rest.get(quote) == Some(&b'"')).then_some((quote + 1, hashes))
}

/// Where the content of a raw string ends.
fn raw_end(rest: &[u8], open: usize, hashes: usize) -> usize {
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let found = rest[open..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len() - 1 - hashes, |i| open + i)
}

/// A literal in `quote`s, its escapes heeded.
fn quoted(rest: &[u8], quote: u8) -> (usize, Range<usize>) {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    let end = at.min(rest.len());
    ((end + 1).min(rest.len()), 1..end)
}

/// `'x'` and `'\n'` are literals, `'static` is not.
fn is_char_literal(rest: &[u8]) -> bool {
    let text = &rest[1..rest.len().min(6)];
    matches!(text, [b'\\', ..])
        || text.iter().position(|b| *b == b'\'').is_some_and(|i| i > 0 && one_char(&text[..i]))
}

fn one_char(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::{Source, blank};

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_else() {
        let text = "a /* x /* y */ z */ b // c\n\"d\\\"e\" r#\"f\"g\"# b'h' 'i' '\\'' &'static str";
        let code = "a                   b     \n\"    \" r#\"   \"# b' ' ' ' '  ' &'static str";
        assert_eq!(blank(text), code);
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let text = "trait T {\n    fn none(&self) -> [u8; 2];\n}\nfn two(f: fn(u8)) {\n}\nfn one() {}\n";
        let source = Source::new("src/a.rs", text);
        let found: Vec<_> = source.functions().into_iter().map(|f| (f.name, f.line, f.length)).collect();
        assert_eq!(found, [("two".to_owned(), 3, 2), ("one".to_owned(), 5, 1)]);
    }

    #[test]
    fn code_for_tests_is_told_from_the_rest() {
        let text =
            "live();\n#[cfg(test)]\nuse x;\nlive();\n#[cfg(test)]\nmod tests {\n    dead()\n}\nlive();\n";
        let live: Vec<usize> = Source::new("src/a.rs", text).live_lines().map(|(line, _)| line).collect();
        assert_eq!(live, [0, 3, 8]);
        let whole = Source { whole_test: true, ..Source::new("src/a/tests.rs", text) };
        assert_eq!(whole.live_lines().count(), 0);
    }

    #[test]
    fn files_that_are_modules_of_tests_are_known() {
        let text = "#[cfg(test)]\nmod a;\nmod b;\n\
                    #[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod c;\n#[cfg(test)]\nmod d {}\n";
        assert_eq!(Source::new("src/x/mod.rs", text).test_modules(), ["src/x/a.rs", "src/x/c_tests.rs"]);
        assert_eq!(Source::new("src/x.rs", text).test_modules(), ["src/x/a.rs", "src/c_tests.rs"]);
    }
}
