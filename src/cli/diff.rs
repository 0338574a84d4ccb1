//! `crossfade diff`: what commands have changed on top of the file.
//!
//! `cli` calls it. It must never compare anything itself.

use std::process::ExitCode;

use clap::Args;

use crate::admin::types;
use crate::cli::asking::Showing;
use crate::cli::figures::change;

/// See what commands have changed on top of the file, from the file to what is live.
#[derive(Debug, Args)]
pub(super) struct Diff {
    #[command(flatten)]
    showing: Showing,
}

impl Diff {
    pub(super) fn carry_out(self) -> ExitCode {
        self.showing.carry_out("/api/v1/diff", |diff| shown(&diff))
    }
}

fn shown(diff: &types::Diff) -> String {
    match diff.changes.is_empty() {
        true => format!("no difference: revision {} is what the file says", diff.revision),
        false => diff.changes.iter().map(change).collect::<Vec<_>>().join("\n"),
    }
}
