//! `crossfade upgrade`: the program that is installed now takes over.
//!
//! `cli` calls it. It must never start a process itself: only the one that serves can hand its sockets on.

use std::process::ExitCode;

use clap::Args;

use crate::cli::asking::Asking;
use crate::control::command::{CommandBody, CommandName};

/// Have the program that is installed now take over, without refusing a visitor.
///
/// The running process starts it by the words it was started by itself, hands its listening sockets, changes and counts
/// on, and finishes what is in flight. Where the new one can't serve, the old one serves on, and says why.
#[derive(Debug, Args)]
pub(super) struct Upgrade {
    #[command(flatten)]
    asking: Asking,
}

impl Upgrade {
    pub(super) fn carry_out(self) -> ExitCode {
        self.asking.carry_out(CommandBody::of(CommandName::Upgrade))
    }
}
