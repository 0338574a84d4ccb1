//! `crossfade drain`: finish what is in flight, then end.
//!
//! `cli` calls it. It must never end a process itself.

use std::process::ExitCode;

use clap::Args;

use crate::cli::asking::Asking;
use crate::control::command::{CommandBody, CommandName};

/// Take no new connections, finish what is in flight, then end the proxy.
#[derive(Debug, Args)]
pub(super) struct Drain {
    #[command(flatten)]
    asking: Asking,
}

impl Drain {
    pub(super) fn carry_out(self) -> ExitCode {
        self.asking.carry_out(CommandBody::of(CommandName::Drain))
    }
}
