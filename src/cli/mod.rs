//! The command line: one file per verb.
//!
//! `main` calls it. Exit codes: 0 done, 1 refused with one clear report, 2 wrong words with the usage.
//! Results go to standard output, everything else to standard error.

mod check;
mod demo;
mod run;

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

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve, by a configuration file or by a few words
    Run(run::Run),
    /// Name every problem of a configuration with its line; exit 0 if there is none, else 1
    Check(check::Check),
    /// See it work: two sample platforms, visitors, and a proxy between them, on this machine alone
    Demo(demo::Demo),
}

impl Verb {
    /// The demo draws on the terminal that events would be written to; it tells them only when asked.
    fn tells_events(&self) -> bool {
        match self {
            Self::Run(_) | Self::Check(_) => true,
            Self::Demo(_) => std::env::var_os(events::VARIABLE).is_some(),
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
    let code = match verb {
        Verb::Run(run) => run.carry_out(),
        Verb::Check(check) => check.carry_out(),
        Verb::Demo(demo) => demo.carry_out(),
    };
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
