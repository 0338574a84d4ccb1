//! "Did you mean": the known word nearest to one that isn't.
//!
//! Readers of keys, names and closed sets of words call it. It must never guess at a word that is far away, nor
//! let a name from the file into a message as it stands there.

use crate::config::limits::{NAMES_COMPARED, NAMES_LISTED};
use crate::config::problem::quoted;

/// The word of `known`, of its first [`NAMES_COMPARED`], that `word` was most likely meant to be.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const LONGEST: usize = 64;
    let word: Vec<char> = word.chars().take(LONGEST).map(folded).collect();
    let scored =
        known.into_iter().take(NAMES_COMPARED).map(|candidate| (distance(&word, candidate), candidate));
    let (best, candidate) = scored.min_by_key(|&(distance, _)| distance)?;
    (best <= (word.len() / 3).clamp(1, 3)).then_some(candidate)
}

/// `a, b, c` in backquotes, for messages that list what is known; no more than [`NAMES_LISTED`].
pub(super) fn listed<'k>(known: impl IntoIterator<Item = &'k str>) -> String {
    let mut known = known.into_iter();
    let shown = known.by_ref().take(NAMES_LISTED).map(quoted).collect::<Vec<_>>().join(", ");
    match known.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The remedy for an unknown word: the nearest one where there is one, and what is known.
pub(super) fn remedy<'k>(word: &str, known: impl IntoIterator<Item = &'k str> + Clone) -> String {
    let all = listed(known.clone());
    match nearest(word, known) {
        Some(near) => format!("did you mean {}? Known here: {all}", quoted(near)),
        None => format!("known here: {all}"),
    }
}

/// Case and the choice of `-` or `_` aren't what makes words differ.
fn folded(c: char) -> char {
    if c == '-' { '_' } else { c.to_ascii_lowercase() }
}

/// Levenshtein's distance with swaps of neighbours (optimal string alignment).
fn distance(word: &[char], candidate: &str) -> usize {
    let other: Vec<char> = candidate.chars().map(folded).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (i, &a) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in other.iter().enumerate() {
            let changed = above[j] + usize::from(a != b);
            let mut least = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == other[j - 1] && word[i - 1] == b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["http", "https", "metrics", "drain_timeout", "workers"];
        let meant = |word| nearest(word, known);
        assert_eq!(meant("htpp"), Some("http"));
        assert_eq!(meant("metric"), Some("metrics"));
        assert_eq!(meant("drain-timeout"), Some("drain_timeout"));
        assert_eq!(meant("Workers"), Some("workers"));
        assert_eq!(meant("listen"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"http".repeat(1000)), None);
    }

    #[test]
    fn the_remedy_lists_what_is_known() {
        assert_eq!(remedy("jsn", ["json", "text"]), "did you mean `json`? Known here: `json`, `text`");
        assert_eq!(remedy("xml-rpc", ["json", "text"]), "known here: `json`, `text`");
    }

    #[test]
    fn of_many_names_ten_are_listed() {
        let names: Vec<_> = (0..13).map(|i| format!("n{i}")).collect();
        let remedy = remedy("n12", names.iter().map(String::as_str));
        let ten = "`n0`, `n1`, `n2`, `n3`, `n4`, `n5`, `n6`, `n7`, `n8`, `n9`";
        assert_eq!(remedy, format!("did you mean `n12`? Known here: {ten} and 3 more"));
    }

    #[test]
    fn of_thousands_of_names_the_first_are_compared() {
        let names = || std::iter::repeat_n("x", NAMES_COMPARED).chain(["heroku"]);
        assert_eq!(nearest("heroko", names().skip(1)), Some("heroku"));
        assert_eq!(nearest("heroko", names()), None);
    }

    #[test]
    fn names_from_the_file_are_escaped() {
        assert_eq!(listed(["\u{1b}[31mEVIL"]), "`\\u{1b}[31mEVIL`");
        assert_eq!(remedy("ab", ["ab\n"]), "did you mean `ab\\n`? Known here: `ab\\n`");
    }
}
