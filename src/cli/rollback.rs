//! `crossfade rollback`: everything to stable, at once.
//!
//! `cli` calls it. It must never ask back, nor hang on anything but the proxy's own answer.

use std::process::ExitCode;

use clap::Args;

use crate::cli::asking::{Asking, OfRoute};
use crate::control::command::{CommandBody, CommandName};

/// Everything to stable at once, sticky visitors and pins too, until the next shift or undo.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    of: OfRoute,
    #[command(flatten)]
    asking: Asking,
}

impl Rollback {
    pub(super) fn carry_out(self) -> ExitCode {
        self.asking.carry_out(CommandBody { route: self.of.route, ..CommandBody::of(CommandName::Rollback) })
    }
}
