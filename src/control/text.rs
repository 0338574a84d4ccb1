//! A configuration file's bytes as a configuration, with warnings told to the log.
//!
//! The Controller and the command line call it. It must never read a file by itself.

use crate::config::{self, Config, Problem};

/// A text that can't be served by.
#[derive(Debug)]
pub struct Unusable {
    /// Everything that is wrong with it, as shown to its author.
    pub report: String,
    /// How many problems.
    pub problems: usize,
}

/// Reads a configuration file's bytes; warnings go to the log.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(bytes: &[u8], file: &str) -> Result<Config, Unusable> {
    let text = std::str::from_utf8(bytes).map_err(|error| Unusable {
        report: format!("error: {file} isn't UTF-8 at byte {}; save it as UTF-8", error.valid_up_to()),
        problems: 1,
    })?;
    match config::load(text, &|name| std::env::var(name).ok()) {
        Ok(loaded) => {
            warn_of(&loaded.warnings, file);
            Ok(loaded.config)
        }
        Err(problems) => {
            let count = problems.0.len();
            Err(Unusable { report: problems.render(file, text, false), problems: count })
        }
    }
}

fn warn_of(warnings: &[Problem], file: &str) {
    for warning in warnings {
        tracing::warn!(
            event = "config.warning",
            "{file}:{}: {}; {}",
            warning.line,
            warning.message,
            warning.remedy
        );
    }
}
