//! `crossfade export`: the file with what commands have changed folded in.
//!
//! `cli` calls it. It must never write to the file: whoever keeps it decides.

use std::process::ExitCode;

use clap::Args;

use crate::admin::types::ConfigText;
use crate::cli::asking::Showing;
use crate::cli::figures::percent;
use crate::control::record::RouteState;

/// Print the configuration file as it would have to be for a start to serve what is live.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    showing: Showing,
}

impl Export {
    pub(super) fn carry_out(self) -> ExitCode {
        self.showing.carry_out("/api/v1/config", shown)
    }
}

/// A start without a file has no text; then comments say what is live.
fn shown(config: ConfigText) -> String {
    config.text.unwrap_or_else(|| {
        let routes = config.routes.iter().map(|(name, state)| format!("# {name}: {}\n", weights(state)));
        format!(
            "# The proxy serves without a file. Live at revision {}:\n{}",
            config.revision,
            routes.collect::<String>()
        )
    })
}

fn weights(state: &RouteState) -> String {
    let weights = state.weights.iter().map(|(backend, weight)| format!("{backend} {}", percent(*weight)));
    weights.collect::<Vec<_>>().join(", ")
}
