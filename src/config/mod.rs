//! Text to meaning: the configuration file, its problems, and the model that serving goes by.
//!
//! The control thread and the command line call [`load`] (a file) or [`quick_start()`] (words); `snapshot`
//! compiles the [`model`]. Everything here is pure: no file is opened, no name looked up, no environment read
//! but through the caller's lookup. It must never accept a configuration by halves: every problem is named,
//! and one is enough.
//!
//! In reading order: [`model`] and [`limits`] are what comes out; `file` is the text as a tree with places,
//! `kinds` the values a key can take (`units`, `address`, `env` know their forms), `lower` each section;
//! [`problem`] is what is wrong, `render` how it is shown, `suggest` what was meant.

mod address;
mod env;
pub mod export;
mod file;
pub mod health;
mod kinds;
pub mod limits;
mod lower;
pub mod model;
pub mod problem;
pub mod quick_start;
mod render;
mod state_dir;
mod suggest;
#[cfg(test)]
mod tests;
mod units;

pub use export::{Exported, export};
pub use model::Config;
pub use problem::{Problem, Problems, Severity};
pub use quick_start::{QuickStart, QuickStartError, quick_start};
pub use state_dir::{metrics_address, state_dir};

use problem::{Fault, Notes};

/// The environment variable that holds the token of the admin API, for who serves it and for who asks.
pub const TOKEN_VARIABLE: &str = "CROSSFADE_ADMIN_TOKEN";

/// A configuration that can serve.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What its author should know all the same.
    pub warnings: Vec<Problem>,
}

/// The configuration that a file's text means, or everything that is wrong with it.
///
/// `env` answers for `${VAR}`; pass `&|name| std::env::var(name).ok()` for the process's own.
pub fn load(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Problems> {
    let mut notes = Notes::new(text, env);
    let document = file::parse(text, &mut notes);
    let config = lower::lower(&document, &mut notes);
    let (problems, warnings) = notes.finish();
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, warnings }),
        Some(_) | None => Err(Problems(problems)),
    }
}

/// What whoever uses a configuration finds wrong with it, each at the value that a path of keys leads to; line 1,
/// column 1 where there is none.
pub fn located(text: &str, faults: Vec<(Vec<&str>, Fault)>) -> Vec<Problem> {
    let mut notes = Notes::new(text, &|_| None);
    let document = file::parse(text, &mut notes);
    for (path, fault) in faults {
        notes.wrong(&file::place(&document, &path), fault);
    }
    notes.finish().0
}
