//! The text of a configuration as a tree that knows where each value stands, and readers that take typed
//! values out of it.
//!
//! `lower` calls it. serde's derive stops at the first error, so this mirror is walked by hand: every reader
//! notes what is wrong and goes on. It must never know a key of the configuration.

use toml::de::{DeTable, DeValue, Error};

use crate::config::env;
use crate::config::problem::{Fault, Notes, Span, quoted};
use crate::config::suggest;

/// Parses the text; what isn't TOML is noted, and the rest is still there.
pub(super) fn parse<'t>(text: &'t str, notes: &mut Notes<'_>) -> DeTable<'t> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let torn_at = errors.iter().filter(|error| tears(error)).filter_map(|e| Some(e.span()?.start)).min();
    for error in &errors {
        let at = error.span().unwrap_or(0..0);
        // Behind an unclosed bracket, what looks like a second `[table]` may be the first one's echo.
        let echo = is_duplicate(error) && torn_at.is_some_and(|torn| at.start >= torn);
        if !echo {
            let fault = syntax_fault(error, notes.source(&at));
            notes.syntax(at, fault, tears(error));
        }
    }
    document.into_inner()
}

/// Where the value stands that a path of keys leads to, or the last one on the way to a key that is missing.
pub(super) fn place(document: &DeTable<'_>, path: &[&str]) -> Span {
    let mut at = 0..0;
    let mut table = Some(document);
    for key in path {
        let Some(value) = table.and_then(|table| table.get(*key)) else {
            break;
        };
        at = value.span();
        table = value.get_ref().as_table();
    }
    at
}

/// One table while it is read: every key that is asked for becomes known, and [`Section::finish`] notes the
/// rest.
pub(super) struct Section<'d> {
    /// What messages call it: `[server]`.
    pub(super) name: String,
    /// Where it stands: its header, or the place where it would be expected.
    pub(super) at: Span,
    table: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// A table about to be read; nothing where it was left out.
    pub(super) fn new(name: impl Into<String>, at: Span, table: Option<&'d DeTable<'d>>) -> Self {
        Self { name: name.into(), at, table, known: Vec::new() }
    }

    /// Whether it stands in the file.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// The value of a key, which becomes known by it.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.known.push(key);
        let (_, value) = self.table?.get_key_value(key)?;
        Some(Value { key, at: value.span(), value: value.get_ref() })
    }

    /// The value of a key as `reader` takes it; nothing where it was left out or is wrong.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        notes: &mut Notes<'_>,
        reader: impl FnOnce(&Value<'d>, &mut Notes<'_>) -> Option<T>,
    ) -> Option<T> {
        self.take(key).and_then(|value| reader(&value, notes))
    }

    /// Same, and to leave it out is a problem.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        notes: &mut Notes<'_>,
        remedy: &str,
        reader: impl FnOnce(&Value<'d>, &mut Notes<'_>) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = self.take(key) else {
            notes.absent(&self.at, Fault::new(format!("`{key}` is missing in {}", self.name), remedy));
            return None;
        };
        reader(&value, notes)
    }

    /// Whether a key stands in it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Where the value of a key stands, or the section where it was left out.
    pub(super) fn at_of(&self, key: &str) -> Span {
        let value = self.table.and_then(|table| table.get(key));
        value.map_or(self.at.clone(), toml::Spanned::span)
    }

    /// A table of its own under a key, empty where it was left out or is something else.
    pub(super) fn section(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Self {
        let name = format!("[{key}]");
        let value = self.take(key);
        let at = value.as_ref().map_or(self.at.clone(), |value| value.at.clone());
        let table = value.and_then(|value| value.table(notes, &format!("write it as a section: {name}")));
        Self::new(name, at, table)
    }

    /// Every key with its place and its value, for tables whose keys are names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Span, Value<'d>)> + use<'d> {
        let entries = self.table.into_iter().flatten();
        entries.map(|(key, value)| {
            (key.span(), Value { key: key.get_ref(), at: value.span(), value: value.get_ref() })
        })
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self, notes: &mut Notes<'_>) {
        for key in self.table.into_iter().flatten().map(|(key, _)| key) {
            let word = key.get_ref().as_ref();
            if !self.known.contains(&word) {
                let message = format!("unknown key {} in {}", suggest::listed([word]), self.name);
                notes.wrong(
                    &key.span(),
                    Fault::new(message, suggest::remedy(word, self.known.iter().copied())),
                );
            }
        }
    }
}

/// A value with its key and its place.
pub(super) struct Value<'d> {
    /// The key it was found under, for messages.
    pub(super) key: &'d str,
    /// Where it stands.
    pub(super) at: Span,
    value: &'d DeValue<'d>,
}

/// A string with everything filled in.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// Where it stands.
    pub(super) at: Span,
    /// What it says.
    pub(super) text: String,
}

impl<'d> Value<'d> {
    /// A string, `${…}` filled in. `form` says what else would be right.
    pub(super) fn text(&self, notes: &mut Notes<'_>, form: &str) -> Option<Text> {
        let DeValue::String(raw) = self.value else {
            self.mistyped(notes, "a text", form);
            return None;
        };
        match env::fill(raw, notes.env()) {
            Ok(text) => Some(Text { at: self.at.clone(), text: text.into_owned() }),
            Err(unfilled) => {
                for piece in unfilled {
                    notes.wrong(&self.place_of(&piece.written, notes), piece.fault);
                }
                None
            }
        }
    }

    /// A string without more ado, where this is one.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// One string, or a list of strings; nothing where one of them has a problem.
    pub(super) fn texts(&self, notes: &mut Notes<'_>, form: &str) -> Option<Vec<Text>> {
        if !self.value.is_array() {
            return self.text(notes, form).map(|text| vec![text]);
        }
        // All of them are read before any is missed, so that each problem is noted.
        let texts: Vec<_> = self.items(notes, form).iter().map(|item| item.text(notes, form)).collect();
        texts.into_iter().collect()
    }

    /// The values of a list.
    pub(super) fn items(&self, notes: &mut Notes<'_>, form: &str) -> Vec<Self> {
        let DeValue::Array(items) = self.value else {
            self.mistyped(notes, "a list", form);
            return Vec::new();
        };
        let item = |item: &'d toml::Spanned<DeValue<'d>>| (item.span(), item.get_ref());
        items.iter().map(item).map(|(at, value)| Self { key: self.key, at, value }).collect()
    }

    /// A table.
    pub(super) fn table(&self, notes: &mut Notes<'_>, form: &str) -> Option<&'d DeTable<'d>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.mistyped(notes, "a table", form);
        }
        table
    }

    /// Whether this is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// Whether this is a list with nothing in it.
    pub(super) fn is_empty_list(&self) -> bool {
        self.value.as_array().is_some_and(|list| list.is_empty())
    }

    /// Whether this is `true` or `false`.
    pub(super) fn is_flag(&self) -> bool {
        self.value.is_bool()
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, notes: &mut Notes<'_>) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.mistyped(notes, "true or false", "write true or false, without quotes");
        }
        flag
    }

    /// A whole number; one beyond 64 bits is the largest there is.
    pub(super) fn whole(&self, notes: &mut Notes<'_>, form: &str) -> Option<i64> {
        let DeValue::Integer(number) = self.value else {
            self.mistyped(notes, "a whole number", form);
            return None;
        };
        let end = if number.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
        Some(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(end))
    }

    /// Any number, also one that isn't finite.
    pub(super) fn number(&self, notes: &mut Notes<'_>, form: &str) -> Option<f64> {
        match self.value {
            DeValue::Float(number) => number.as_str().parse().ok(),
            // Beyond 2^53 the nearest number will do.
            DeValue::Integer(_) => self.whole(notes, form).map(|number| number as f64),
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.mistyped(notes, "a number", form);
                None
            }
        }
    }

    /// Notes that this isn't what the key takes.
    pub(super) fn mistyped(&self, notes: &mut Notes<'_>, wanted: &str, form: &str) {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("{} takes {wanted}, not {found}", suggest::listed([self.key]));
        notes.wrong(&self.at, Fault::new(message, form));
    }

    /// Where a part of this string stands in the file, or the string where it is written otherwise there.
    fn place_of(&self, part: &str, notes: &Notes<'_>) -> Span {
        match notes.source(&self.at).find(part) {
            Some(offset) => self.at.start + offset..self.at.start + offset + part.len(),
            None => self.at.clone(),
        }
    }
}

/// Whether the parser can't tell any more what belongs to what.
fn tears(error: &Error) -> bool {
    error.message().starts_with("unclosed")
}

fn is_duplicate(error: &Error) -> bool {
    error.message().starts_with("duplicate key")
}

fn syntax_fault(error: &Error, written: &str) -> Fault {
    let unquoted = error.message().starts_with("string values must be quoted");
    match written {
        "yes" | "on" | "True" | "no" | "off" | "False" => {
            let message = format!("{} isn't a value", suggest::listed([written]));
            Fault::new(message, "write true or false, or put a text in quotes")
        }
        "" if unquoted => {
            Fault::new("a value is missing", "write it behind the `=`; a text stands in quotes")
        }
        _ if unquoted => {
            Fault::new(format!("{} isn't a value", quoted(written)), "put a text in quotes: \"…\"")
        }
        _ if is_duplicate(error) => {
            Fault::new(format!("{} is there twice", quoted(written)), "keep one of them")
        }
        _ => Fault::new(
            format!("this isn't TOML: {}", error.message()),
            "correct what stands here; https://toml.io shows the forms",
        ),
    }
}
