//! Pure: the text of a configuration file with what commands have changed folded in.
//!
//! The control thread calls it for `crossfade export`. It must never touch a byte that says nothing of a changed share
//! or mode: comments, order and line ends are their author's.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::config::env;
use crate::config::model::Mode;

/// What a route is to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The share of each of its backends, in percent.
    pub weights: BTreeMap<String, f64>,
    /// What it does with requests.
    pub mode: Mode,
}

/// The text with these weights and modes, by the names of the routes. What a route says already stays as it is written;
/// text that isn't TOML stays as it is altogether.
///
/// `env` answers for `${VAR}`, as it did when the file was loaded.
pub fn export(
    text: &str,
    routes: &BTreeMap<String, Exported>,
    env: &dyn Fn(&str) -> Option<String>,
) -> String {
    let Ok(document) = DeTable::parse(text) else { return text.to_owned() };
    let mut edits = Vec::new();
    let written = document.get_ref().get("routes").and_then(|routes| routes.get_ref().as_array());
    for route in written.into_iter().flatten() {
        let Some(table) = route.get_ref().as_table() else { continue };
        let route = Written { text, table, is_inline: text[route.span()].starts_with('{'), env };
        if let Some(wanted) = route.string("name").and_then(|name| routes.get(&name)) {
            edits.extend(route.weights(&wanted.weights));
            edits.extend(route.mode(wanted.mode));
        }
    }
    applied(text, edits)
}

/// What stands where, instead of what.
type Edit = (Range<usize>, String);

/// A route as it is written.
struct Written<'t> {
    text: &'t str,
    table: &'t DeTable<'t>,
    /// In braces, not below `[[routes]]`.
    is_inline: bool,
    env: &'t dyn Fn(&str) -> Option<String>,
}

impl Written<'_> {
    /// One edit for each share, or for all of them where none is written.
    fn weights(&self, wanted: &BTreeMap<String, f64>) -> Vec<Edit> {
        let shares =
            self.table.get("weights").and_then(|value| Some((value.span(), value.get_ref().as_table()?)));
        let Some((at, table)) = shares.filter(|(_, table)| !table.is_empty()) else {
            let (backends, only) =
                (wanted.values().filter(|share| **share > 0.0).count(), self.string("stable"));
            let as_it_is =
                backends == 1 && only.is_some_and(|name| wanted.get(&name).is_some_and(|s| *s > 0.0));
            return if as_it_is { Vec::new() } else { self.absent("weights", &inline(wanted)) };
        };
        if is_said(table, wanted) {
            return Vec::new();
        }
        let mut edits: Vec<Edit> = Vec::new();
        for (name, value) in table.iter() {
            let share = wanted.get(name.get_ref().as_ref()).copied().unwrap_or(0.0);
            edits.push((value.span(), number(share)));
        }
        let more = wanted.iter().filter(|(name, share)| **share > 0.0 && !table.contains_key(name.as_str()));
        edits.extend(more.filter_map(|(name, share)| self.another(&at, table, name, *share)));
        edits
    }

    fn mode(&self, wanted: Mode) -> Vec<Edit> {
        let said = format!("\"{}\"", wanted.as_str());
        match self.table.get("mode") {
            Some(_) if self.string("mode").as_deref() == Some(wanted.as_str()) => Vec::new(),
            Some(value) => vec![(value.span(), said)],
            None if wanted == Mode::Open => Vec::new(),
            None => self.absent("mode", &said),
        }
    }

    /// A key that the route hasn't: behind its name.
    fn absent(&self, key: &str, value: &str) -> Vec<Edit> {
        let Some((name, at)) =
            self.table.get_key_value("name").map(|(name, value)| (name.span(), value.span()))
        else {
            return Vec::new();
        };
        if self.is_inline {
            return vec![(at.end..at.end, format!(", {key} = {value}"))];
        }
        let before = &self.text[line_start(self.text, name.start)..name.start];
        vec![self.line_below(at.end, &format!("{before}{key} = {value}"))]
    }

    /// One more share in a table that has some, in the form that they have.
    fn another(&self, at: &Range<usize>, table: &DeTable<'_>, name: &str, share: f64) -> Option<Edit> {
        let share = format!("{} = {}", quoted(name), number(share));
        if self.text[at.clone()].starts_with('{') {
            return Some((at.start + 1..at.start + 1, format!(" {share},")));
        }
        let (key, value) = table.iter().max_by_key(|(_, value)| value.span().end)?;
        let end = value.span().end;
        if self.is_inline {
            return Some((end..end, format!(", weights.{share}")));
        }
        // With what stands before its neighbour: blanks, and `weights.` where that is how they are written.
        let before = &self.text[line_start(self.text, key.span().start)..key.span().start];
        Some(self.line_below(end, &format!("{before}{share}")))
    }

    /// A line of its own below the one that `at` is on.
    fn line_below(&self, at: usize, line: &str) -> Edit {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |offset| at + offset);
        let end = end - usize::from(self.text[at..end].ends_with('\r'));
        let newline = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        (end..end, format!("{newline}{line}"))
    }

    /// A string, filled in.
    fn string(&self, key: &str) -> Option<String> {
        let value = self.table.get(key)?.get_ref().as_str()?;
        env::fill(value, self.env).ok().map(std::borrow::Cow::into_owned)
    }
}

/// Whether shares of their sum come to these percents, to the millionth that a split knows.
fn is_said(table: &DeTable<'_>, wanted: &BTreeMap<String, f64>) -> bool {
    let shares: BTreeMap<&str, f64> = table
        .iter()
        .filter_map(|(name, value)| Some((name.get_ref().as_ref(), share(value.get_ref())?)))
        .collect();
    let (sum, whole) = (shares.values().sum::<f64>(), wanted.values().sum::<f64>());
    let of = |share: Option<f64>, sum: f64| share.unwrap_or(0.0) / sum;
    let names = shares.keys().copied().chain(wanted.keys().map(String::as_str));
    let mut apart =
        names.map(|name| of(shares.get(name).copied(), sum) - of(wanted.get(name).copied(), whole));
    sum > 0.0 && apart.all(|difference| difference.abs() < 1.1e-6)
}

fn share(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64)
        }
        _ => None,
    }
}

fn inline(weights: &BTreeMap<String, f64>) -> String {
    let shares = weights.iter().map(|(name, share)| format!("{} = {}", quoted(name), number(*share)));
    format!("{{ {} }}", shares.collect::<Vec<_>>().join(", "))
}

/// To the millionth of the whole, without needless zeros.
fn number(percent: f64) -> String {
    ((percent * 1e4).round().max(0.0) / 1e4).to_string()
}

/// A name as a key: bare where it can be.
fn quoted(name: &str) -> String {
    let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { name.to_owned() } else { format!("\"{name}\"") }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn applied(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(at, _)| (at.start, at.end));
    let mut whole = String::with_capacity(text.len() + edits.len() * 32);
    let mut done = 0;
    for (at, piece) in edits {
        whole.push_str(&text[done..at.start]);
        whole.push_str(&piece);
        done = at.end;
    }
    whole + &text[done..]
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
