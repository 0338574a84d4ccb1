//! What can be seen of the process from outside: the revision, and why the last change was refused, if it
//! was.
//!
//! The Controller tells, `admin` shows.

use tokio::sync::watch;

/// The state of control.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The live revision.
    pub revision: u64,
    /// Every problem of the configuration that was refused last, if that is the latest there is.
    pub refused: Option<String>,
    /// The process is about to end.
    pub draining: bool,
}

/// The telling side.
pub type Statuses = watch::Sender<Status>;
/// The seeing side.
pub type Watching = watch::Receiver<Status>;
