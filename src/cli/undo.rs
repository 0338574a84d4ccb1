//! `crossfade undo`: take a change back.
//!
//! `cli` calls it. It must never choose the change itself: the proxy knows which one was the last.

use std::process::ExitCode;

use clap::Args;

use crate::cli::asking::{Asking, OfRoute};
use crate::control::command::{CommandBody, CommandName};

/// Take a change back: weights and modes as they were before it; twice goes two changes back.
#[derive(Debug, Args)]
pub(super) struct Undo {
    /// Back to before this revision; else before the last change by a command that isn't undone yet
    #[arg(value_name = "REVISION")]
    revision: Option<u64>,
    #[command(flatten)]
    of: OfRoute,
    #[command(flatten)]
    asking: Asking,
}

impl Undo {
    pub(super) fn carry_out(self) -> ExitCode {
        let (revision, route) = (self.revision, self.of.route);
        self.asking.carry_out(CommandBody { revision, route, ..CommandBody::of(CommandName::Undo) })
    }
}
