//! `crossfade run`: serve.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app::{self, Start, Succession};
use crate::cli::{exists, place, report};
use crate::config::{Config, QuickStart, quick_start};
use crate::control::text;
use crate::source::file;
use crate::upgrade::predecessor::Predecessor;
use crate::upgrade::program::Program;

/// Serve, by a configuration file or by a few words.
///
/// Without --config, --stable and --candidate serve at once; without those, crossfade.toml of this directory
/// is used.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration file; else the one that CROSSFADE_CONFIG names, else crossfade.toml here
    #[arg(long, short, value_name = "FILE", conflicts_with = "stable")]
    config: Option<PathBuf>,
    #[command(flatten)]
    quick: Quick,
}

/// A start without a file.
#[derive(Debug, Args)]
struct Quick {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", requires = "stable")]
    listen: String,
    /// Where to serve /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDR", requires = "stable")]
    metrics: Option<String>,
    /// The backend that the rest of the requests go to
    #[arg(long, value_name = "URL", requires = "candidate")]
    stable: Option<String>,
    /// The backend that is being tried
    #[arg(long, value_name = "URL", requires = "stable")]
    candidate: Option<String>,
    /// The candidate's share of the requests, 0 to 100
    #[arg(long, value_name = "N", default_value_t = 0.0, requires = "stable")]
    percent: f64,
    /// Where overrides, history and the admin socket are kept [default: crossfade in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR", requires = "stable")]
    state: Option<PathBuf>,
}

/// Where the command line looks for it, too.
fn default_state() -> Option<PathBuf> {
    let named = std::env::var_os("CROSSFADE_STATE").filter(|dir| !dir.is_empty());
    named.map(PathBuf::from).or_else(place::default_state)
}

impl Run {
    pub(super) fn carry_out(self) -> ExitCode {
        let predecessor = Predecessor::of_environment();
        let complaint = predecessor.as_ref().and_then(|predecessor| predecessor.complaint().ok());
        let served = self
            .start(predecessor)
            .and_then(|start| app::run(start, |_| {}).map_err(|error| format!("error: {error}")));
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                // Who waits for us to take over serves on, and says why.
                complaint.into_iter().for_each(|complaint| complaint.say(&text));
                report(&text)
            }
        }
    }

    fn start(&self, predecessor: Option<Predecessor>) -> Result<Start, String> {
        let succession = Succession::By { program: Program::own(), predecessor };
        if let (Some(stable), Some(candidate)) = (&self.quick.stable, &self.quick.candidate) {
            let config = self.quick_start(stable, candidate)?;
            return Ok(Start { config, file: None, succession });
        }
        let named = self.config.clone().or_else(|| std::env::var_os("CROSSFADE_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from("crossfade.toml"));
        if named.is_none() && !exists(&path) {
            return Err("error: no configuration: give one with --config FILE, or start without a file by \
                        --stable URL --candidate URL [--percent N] [--listen ADDR]"
                .to_owned());
        }
        let bytes = file::read(&path).map_err(|error| format!("error: {error}"))?;
        let shown = path.display().to_string();
        let config = text::read(&bytes, &shown).map_err(|unusable| unusable.report)?;
        Ok(Start { config, file: Some((path, bytes)), succession })
    }

    fn quick_start(&self, stable: &str, candidate: &str) -> Result<Config, String> {
        let Quick { listen, metrics, percent, state, .. } = &self.quick;
        let state = state.clone().or_else(default_state);
        let (metrics, state) = (metrics.as_deref(), state.as_deref());
        let words = QuickStart { listen, metrics, stable, candidate, percent: *percent, state };
        quick_start(&words).map_err(|error| format!("error: {error}"))
    }
}
