//! `crossfade mode`: what a route does with requests at all.
//!
//! `cli` calls it. It must never know a mode that the model doesn't.

use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::cli::asking::{Asking, OfRoute};
use crate::config::model;
use crate::control::command::{CommandBody, CommandName};

/// Every mode there is.
const MODES: [model::Mode; 2] = [model::Mode::Open, model::Mode::Maintenance];

/// Serve a route (open), or answer 503 to its visitors ourselves (maintenance).
#[derive(Debug, Args)]
pub(super) struct Mode {
    /// What it does with requests
    #[arg(value_name = "MODE", value_parser = PossibleValuesParser::new(MODES.map(model::Mode::as_str)))]
    mode: String,
    #[command(flatten)]
    of: OfRoute,
    #[command(flatten)]
    asking: Asking,
}

impl Mode {
    pub(super) fn carry_out(self) -> ExitCode {
        let mode = MODES.into_iter().find(|mode| mode.as_str() == self.mode);
        self.asking.carry_out(CommandBody {
            mode,
            route: self.of.route,
            ..CommandBody::of(CommandName::Mode)
        })
    }
}
