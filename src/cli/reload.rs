//! `crossfade reload`: read the configuration file now.
//!
//! `cli` calls it. It must never read the file itself: the proxy does, or nobody knows what it makes of it.

use std::process::ExitCode;

use clap::Args;

use crate::cli::asking::Asking;
use crate::control::command::{CommandBody, CommandName};

/// Read the configuration file now; with problems in it, nothing changes.
#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    asking: Asking,
}

impl Reload {
    pub(super) fn carry_out(self) -> ExitCode {
        self.asking.carry_out(CommandBody::of(CommandName::Reload))
    }
}
