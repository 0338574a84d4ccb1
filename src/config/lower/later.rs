//! Sections of the contract that this version accepts without effect, so that one file can serve several
//! versions.
//!
//! `lower` calls it. It must never accept silently: each is a warning, and its unknown keys are still
//! problems.

use crate::config::file::Section;
use crate::config::problem::{Fault, Notes};

/// `[state]`.
pub(in crate::config) fn read(file: &mut Section<'_>, notes: &mut Notes<'_>) {
    accept(file, "state", &["dir"], notes);
}

fn accept(file: &mut Section<'_>, name: &'static str, keys: &[&'static str], notes: &mut Notes<'_>) {
    let mut section = file.section(name, notes);
    for key in keys {
        section.take(key);
    }
    if section.is_there() {
        let message = format!("[{name}] is accepted, but without effect in this version");
        notes.warn(&section.at, Fault::new(message, "leave it out, or ignore this"));
    }
    section.finish(notes);
}
