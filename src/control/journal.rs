//! Stub.
use crate::control::overrides::Overrides;
use crate::control::record::Record;
use std::sync::Arc;

/// One line of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The revision.
    pub record: Arc<Record>,
    /// All overrides after it.
    pub overrides: Overrides,
}

/// Whether an entry will survive a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is on the disk.
    Yes,
    /// Not yet, for this reason.
    NotYet(String),
}

/// The file.
#[derive(Debug)]
pub struct Journal;

impl Journal {
    /// Keeps an entry.
    pub async fn keep(&self, _entry: Entry) -> Kept {
        Kept::Yes
    }
}
