//! The command line: one file per verb.
//!
//! `main` calls it. Exit codes: 0 done, 1 refused with one clear report, 2 wrong words with the usage.
//! Results go to standard output, everything else to standard error.

mod asking;
mod check;
mod client;
mod completions;
mod demo;
mod diff;
mod drain;
mod export;
mod facts;
mod figures;
mod health;
mod history;
mod man;
mod mode;
mod paint;
mod place;
mod reload;
mod rollback;
mod run;
mod shift;
mod status;
mod undo;
mod upgrade;
mod watch;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::telemetry::events::{self, EventFormat};

/// Splits traffic between the platform you leave and the one you go to, by weights that change live.
#[derive(Debug, Parser)]
#[command(name = "crossfade", version, max_term_width = 100)]
struct Words {
    #[command(subcommand)]
    verb: Verb,
    /// How events are written to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

// Each verb is described at its own options, with all that its `--help` has to say.
#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Check(check::Check),
    Demo(demo::Demo),
    Health(health::Health),
    Status(status::Status),
    Shift(shift::Shift),
    Rollback(rollback::Rollback),
    Undo(undo::Undo),
    Mode(mode::Mode),
    History(history::History),
    Diff(diff::Diff),
    Export(export::Export),
    Reload(reload::Reload),
    Upgrade(upgrade::Upgrade),
    Drain(drain::Drain),
    Completions(completions::Completions),
    Man(man::Manual),
}

impl Verb {
    /// The demo draws on the terminal that events would be written to, and who talks to a proxy has none to tell;
    /// they tell them only when asked.
    fn tells_events(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Check(_)) || std::env::var_os(events::VARIABLE).is_some()
    }

    fn carry_out(self) -> ExitCode {
        match self {
            Self::Run(run) => run.carry_out(),
            Self::Check(check) => check.carry_out(),
            Self::Demo(demo) => demo.carry_out(),
            Self::Health(health) => health.carry_out(),
            Self::Status(status) => status.carry_out(),
            Self::Shift(shift) => shift.carry_out(),
            Self::Rollback(rollback) => rollback.carry_out(),
            Self::Undo(undo) => undo.carry_out(),
            Self::Mode(mode) => mode.carry_out(),
            Self::History(history) => history.carry_out(),
            Self::Diff(diff) => diff.carry_out(),
            Self::Export(export) => export.carry_out(),
            Self::Reload(reload) => reload.carry_out(),
            Self::Upgrade(upgrade) => upgrade.carry_out(),
            Self::Drain(drain) => drain.carry_out(),
            Self::Completions(completions) => completions.carry_out(),
            Self::Man(man) => man.carry_out(),
        }
    }
}

/// Which configuration file.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", env = "CROSSFADE_CONFIG", default_value = "crossfade.toml")]
    config: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// A line for reading
    Text,
    /// One JSON object a line
    Json,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let Words { verb, log_format } = Words::parse();
    let format = match log_format {
        LogFormat::Text => EventFormat::Text,
        LogFormat::Json => EventFormat::Json,
    };
    if verb.tells_events()
        && let Err(error) = events::init(format)
    {
        return complain(&error);
    }
    let code = verb.carry_out();
    events::flush();
    code
}

/// One clear sentence, and exit code 1.
fn complain(error: &dyn std::fmt::Display) -> ExitCode {
    events::flush();
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::FAILURE
}

/// A whole report, and exit code 1.
fn report(text: &str) -> ExitCode {
    events::flush();
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
    ExitCode::FAILURE
}

/// What a verb found out. A reader that has gone (`| head`) is no error.
fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn exists(path: &Path) -> bool {
    fs::exists(path).unwrap_or(false)
}
