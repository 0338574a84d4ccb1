//! What happens when one process takes over from another.
//!
//! `app` tells them, on either side.

use std::fmt::Display;

use tracing::{error, info, warn};

use super::events::Event;

/// Something that changed in which process serves.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the fields are the log's own, and named for it")]
pub enum UpgradeEvent<'a> {
    /// A new process was started, and isn't trusted yet.
    Begun { program: &'a dyn Display },
    /// It could serve.
    Prepared { pid: u32, version: &'a str },
    /// It serves; this one drains.
    Replaced { pid: u32, version: &'a str, revision: u64 },
    /// It doesn't serve, and has ended; this one serves on.
    Failed { error: &'a dyn Display },
    /// This process goes on where another was.
    Followed { revision: u64, sockets: usize },
    /// The process before this one has ended.
    PredecessorGone,
    /// A socket was passed to this process that its configuration doesn't name.
    SocketUnused { place: &'a str },
}

impl UpgradeEvent<'_> {
    pub(super) fn log(self) {
        match self {
            Self::Begun { program } => info!(event = "upgrade.begun", %program, "starting the new process"),
            Self::Prepared { pid, version } => {
                info!(event = "upgrade.prepared", pid, version, "the new process could serve");
            }
            Self::Replaced { pid, version, revision } => {
                info!(event = "upgrade.replaced", pid, version, revision, "the new process serves");
            }
            Self::Failed { error } => error!(event = "upgrade.failed", %error, "this process serves on"),
            Self::Followed { revision, sockets } => {
                info!(event = "upgrade.followed", revision, sockets, "taken over from the process before");
            }
            Self::PredecessorGone => {
                info!(event = "upgrade.predecessor-gone", "the process before has ended");
            }
            Self::SocketUnused { place } => {
                warn!(event = "upgrade.socket-unused", place, "the configuration doesn't name it; closed");
            }
        }
    }
}

impl<'a> From<UpgradeEvent<'a>> for Event<'a> {
    fn from(event: UpgradeEvent<'a>) -> Self {
        Self::Upgrade(event)
    }
}
