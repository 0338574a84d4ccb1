//! `crossfade check`: every problem of a configuration, with its line.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Args;

use crate::cli::{ConfigFile, complain, print, report};
use crate::config::{Loaded, Problem, Problems, Severity, load};
use crate::snapshot::Snapshot;
use crate::snapshot::registry::Registry;
use crate::source::file;

/// Name every problem of a configuration with its line; exit 0 if there is none, else 1.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn carry_out(self) -> ExitCode {
        let path = &self.file.config;
        let shown = path.display().to_string();
        let bytes = match file::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return complain(&error),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return complain(&format!("{shown} isn't UTF-8; save it as UTF-8"));
        };
        let (warnings, problems) = match load(&text, &|name| std::env::var(name).ok()) {
            Ok(Loaded { config, warnings }) => {
                // What only compiling finds: files of authorities.
                if let Err(error) = Snapshot::compile(config, 1, &mut Registry::default()) {
                    return complain(&error);
                }
                (warnings, Vec::new())
            }
            Err(Problems(problems)) => (Vec::new(), problems),
        };
        let bad = !problems.is_empty();
        let all = Problems(problems.into_iter().chain(warnings).collect());
        if self.json {
            print(&as_json(&all, &shown));
        } else if !all.0.is_empty() {
            report(&all.render(&shown, &text, io::stderr().is_terminal()));
        }
        if bad {
            return ExitCode::FAILURE;
        }
        if !self.json {
            print(&format!("{shown} is good"));
        }
        ExitCode::SUCCESS
    }
}

fn as_json(problems: &Problems, file: &str) -> String {
    let one = |problem: &Problem| {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        serde_json::json!({
            "file": file, "line": problem.line, "column": problem.column, "severity": severity,
            "message": problem.message, "remedy": problem.remedy,
        })
    };
    serde_json::Value::Array(problems.0.iter().map(one).collect()).to_string()
}
