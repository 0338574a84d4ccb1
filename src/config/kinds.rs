//! The kinds of values a key takes: durations, sizes, numbers in a range, words of a closed set, parsed
//! texts.
//!
//! `lower` names one for each key it reads. It must never know which key it reads for.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::file::Value;
use crate::config::problem::{Fault, Notes, escaped, quoted};
use crate::config::suggest;
use crate::config::units;

/// A duration with its unit.
pub(super) fn duration(
    allowed: RangeInclusive<Duration>,
) -> impl Fn(&Value<'_>, &mut Notes<'_>) -> Option<Duration> {
    move |value, notes| {
        let text = value.text(notes, units::DURATION_FORM)?;
        notes.accept(&text.at, units::duration(&text.text, &allowed))
    }
}

/// A size with its unit, in bytes.
pub(super) fn size(allowed: RangeInclusive<u64>) -> impl Fn(&Value<'_>, &mut Notes<'_>) -> Option<u64> {
    move |value, notes| {
        let text = value.text(notes, units::SIZE_FORM)?;
        notes.accept(&text.at, units::size(&text.text, &allowed))
    }
}

/// A whole number.
pub(super) fn whole<T>(allowed: RangeInclusive<T>) -> impl Fn(&Value<'_>, &mut Notes<'_>) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |value, notes| {
        let form = format!("write a whole number from {} to {}", allowed.start(), allowed.end());
        let number = value.whole(notes, &form)?;
        let written = escaped(notes.source(&value.at));
        let fitting = T::try_from(number).ok().filter(|number| allowed.contains(number));
        let fault = || Fault::new(format!("{} can't be {written}", suggest::listed([value.key])), form);
        notes.accept(&value.at, fitting.ok_or_else(fault))
    }
}

/// One of these words.
pub(super) fn one_of<T: Clone, const N: usize>(
    words: [(&'static str, T); N],
) -> impl Fn(&Value<'_>, &mut Notes<'_>) -> Option<T> {
    move |value, notes| {
        let known = words.iter().map(|(word, _)| *word);
        let text = value.text(notes, &format!("write one of {}", suggest::listed(known.clone())))?;
        let meant = words.iter().find(|(word, _)| *word == text.text).map(|(_, meaning)| meaning.clone());
        let fault = || {
            let message = format!("{} can't be {}", suggest::listed([value.key]), quoted(&text.text));
            Fault::new(message, suggest::remedy(&text.text, known))
        };
        notes.accept(&text.at, meant.ok_or_else(fault))
    }
}

/// A text that `parse` understands; `form` says what it looks like.
pub(super) fn parsed<T>(
    form: &'static str,
    parse: fn(&str) -> Result<T, Fault>,
) -> impl Fn(&Value<'_>, &mut Notes<'_>) -> Option<T> {
    move |value, notes| {
        let text = value.text(notes, form)?;
        notes.accept(&text.at, parse(&text.text))
    }
}
