//! `[access_log]`: how records are written, and where to.
//!
//! `lower` calls it. It must never open the file.

use std::path::PathBuf;

use crate::config::file::{Section, Value};
use crate::config::kinds;
use crate::config::model::{AccessFormat, AccessLog, LogTarget};
use crate::config::problem::{Fault, Notes, quoted};
use crate::config::suggest;

const TARGET_FORM: &str =
    "write \"stdout\", \"off\" or the path of a file: \"/var/log/crossfade/access.log\"";

/// The section; JSON on standard output where it was left out.
pub(in crate::config) fn read(file: &mut Section<'_>, notes: &mut Notes<'_>) -> AccessLog {
    let mut section = file.section("access_log", notes);
    let formats = kinds::one_of([("json", AccessFormat::Json), ("text", AccessFormat::Text)]);
    let format = section.read("format", notes, formats).unwrap_or(AccessFormat::Json);
    let target = section.read("target", notes, target).unwrap_or(Some(LogTarget::Stdout));
    section.finish(notes);
    AccessLog { format, target }
}

fn target(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Option<LogTarget>> {
    let text = value.text(notes, TARGET_FORM)?;
    match text.text.as_str() {
        "stdout" => Some(Some(LogTarget::Stdout)),
        "off" => Some(None),
        path if path.contains('/') && !path.ends_with('/') && !path.contains(char::is_control) => {
            Some(Some(LogTarget::File(PathBuf::from(path))))
        }
        other => {
            let remedy = suggest::nearest(other, ["stdout", "off"])
                .map_or(TARGET_FORM.to_owned(), |near| format!("did you mean \"{near}\"? {TARGET_FORM}"));
            notes.wrong(&text.at, Fault::new(format!("`target` can't be {}", quoted(other)), remedy));
            None
        }
    }
}
