//! `crossfade man`: the manual page, of the whole or of one verb.
//!
//! `cli` calls it. It must never know a verb by name: all come from the words themselves.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use clap_mangen::Man;

use crate::cli::{Words, complain, print};

/// Print the manual page, for `man` to read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  crossfade man | man -l -
  crossfade man shift > /usr/local/share/man/man1/crossfade-shift.1")]
pub(super) struct Manual {
    /// Of this verb; else of the whole
    #[arg(value_name = "VERB")]
    verb: Option<String>,
}

impl Manual {
    pub(super) fn carry_out(self) -> ExitCode {
        let mut command = Words::command();
        command.build();
        let told = match &self.verb {
            None => Some(&command),
            Some(verb) => command.find_subcommand(verb),
        };
        let Some(told) = told else {
            let verb = self.verb.unwrap_or_default();
            let error = command.error(ErrorKind::InvalidSubcommand, format!("there is no verb '{verb}'"));
            // Nobody is left to tell if standard error is gone.
            let _ = error.print();
            return ExitCode::from(2);
        };
        let mut page = Vec::new();
        match Man::new(told.clone()).render(&mut page) {
            Ok(()) => print(String::from_utf8_lossy(&page).trim_end()),
            Err(error) => return complain(&error),
        }
        ExitCode::SUCCESS
    }
}
