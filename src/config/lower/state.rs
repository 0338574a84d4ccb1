//! `[state]`: where what outlives the process is kept.
//!
//! `lower` calls it before the sections that need it. It must never look whether the directory is there.

use std::path::PathBuf;

use crate::config::file::{Section, Value};
use crate::config::problem::{Fault, Notes, quoted};

/// What to write where a directory is missing.
pub(super) const DIR_FORM: &str = "say where it is kept: [state] dir = \"/var/lib/crossfade\"";

/// What the section says.
pub(super) struct State {
    /// The directory, where it is named and can be one.
    pub(super) dir: Option<PathBuf>,
    /// Whether it is named at all.
    pub(super) is_named: bool,
}

/// The section.
pub(super) fn read(file: &mut Section<'_>, notes: &mut Notes<'_>) -> State {
    let mut section = file.section("state", notes);
    let dir = section.read("dir", notes, |value, notes| path(value, DIR_FORM, notes));
    let is_named = section.has("dir");
    section.finish(notes);
    State { dir, is_named }
}

/// A path that can be shown in one line.
pub(super) fn path(value: &Value<'_>, form: &str, notes: &mut Notes<'_>) -> Option<PathBuf> {
    let text = value.text(notes, form)?;
    // It is shown where the file can't be used.
    if text.text.is_empty() || text.text.contains(char::is_control) {
        notes.wrong(&text.at, Fault::new(format!("`{}` can't be {}", value.key, quoted(&text.text)), form));
        return None;
    }
    Some(PathBuf::from(text.text))
}
