//! `crossfade demo`: see it work.

use std::process::ExitCode;

use clap::Args;

/// See it work.
#[derive(Debug, Args)]
pub(super) struct Demo {}

impl Demo {
    pub(super) fn carry_out(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}
