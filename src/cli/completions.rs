//! `crossfade completions`: what a shell needs to complete these words.
//!
//! `cli` calls it. It must never know a verb by name: all come from the words themselves.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::cli::{Words, print};

/// Print what a shell needs to complete these words, to be put where it looks for that.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  crossfade completions bash > ~/.local/share/bash-completion/completions/crossfade
  crossfade completions zsh > \"${fpath[1]}/_crossfade\"
  crossfade completions fish > ~/.config/fish/completions/crossfade.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn carry_out(self) -> ExitCode {
        let mut text = Vec::new();
        generate(self.shell, &mut Words::command(), "crossfade", &mut text);
        print(String::from_utf8_lossy(&text).trim_end());
        ExitCode::SUCCESS
    }
}
