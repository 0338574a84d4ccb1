//! `crossfade check`: every problem of a configuration, with its line.
//!
//! `cli` calls it. With `--json` it must never say a problem in any other way.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{ConfigFile, complain, print, report};
use crate::config::problem::Fault;
use crate::config::{Config, Loaded, Problem, Problems, Severity, load, located};
use crate::snapshot::Snapshot;
use crate::snapshot::registry::{Registry, certificate};
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
        match text_of(&self.file.config) {
            Ok(text) => self.tell(&examined(&text), &text),
            Err(fault) if self.json => self.tell(&Problems(located("", vec![(Vec::new(), fault)])), ""),
            Err(fault) => complain(&fault),
        }
    }

    fn tell(&self, found: &Problems, text: &str) -> ExitCode {
        let shown = self.file.config.display().to_string();
        let good = found.0.iter().all(|problem| problem.severity == Severity::Warning);
        if self.json {
            print(&as_json(found, &shown));
        } else {
            if !found.0.is_empty() {
                report(&found.render(&shown, text, io::stderr().is_terminal()));
            }
            if good {
                print(&format!("{shown} is good"));
            }
        }
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn text_of(path: &Path) -> Result<String, Fault> {
    let bytes =
        file::read(path).map_err(|error| Fault::of_sentence(&error, "name the file by --config FILE"))?;
    String::from_utf8(bytes)
        .map_err(|_| Fault::new(format!("{} isn't UTF-8", path.display()), "save it as UTF-8"))
}

/// Errors first, then warnings.
fn examined(text: &str) -> Problems {
    match load(text, &|name| std::env::var(name).ok()) {
        Ok(Loaded { config, warnings }) => {
            let mut found = located(text, unusable(&config));
            found.extend(warnings);
            Problems(found)
        }
        Err(problems) => problems,
    }
}

/// What only compiling finds, with the keys that lead to it: files of authorities and certificates. Anything else is
/// found once these are right.
fn unusable(config: &Config) -> Vec<(Vec<&str>, Fault)> {
    const REMEDY: &str = "name a PEM file of certificates";
    let mut registry = Registry::default();
    let mut wrong = Vec::new();
    for backend in &config.backends {
        if let Err(error) = registry.tls(backend) {
            let keys = vec!["backends", backend.name.as_str(), "ca_file"];
            wrong.push((keys, Fault::of_sentence(&error, REMEDY)));
        }
    }
    for files in &config.tls.certificates {
        if let Err(error) = certificate(files) {
            wrong.push((vec!["tls", "certificates"], Fault::of_sentence(&error, "name PEM files of a pair")));
        }
    }
    if let Err(error) = registry.serving(&config.tls) {
        wrong.push((vec!["tls", "client_ca_file"], Fault::of_sentence(&error, REMEDY)));
    }
    if wrong.is_empty()
        && let Err(error) = Snapshot::compile(config.clone(), 1, &mut registry)
    {
        wrong.push((Vec::new(), Fault::of_sentence(&error, "correct what it names")));
    }
    wrong
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
