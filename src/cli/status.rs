//! `crossfade status`: what is live, on both sides.
//!
//! `cli` calls it. With `--watch` it is the live view of `watch`. It must never wrap a table: it is read in a hurry.

use std::process::ExitCode;

use clap::Args;

use crate::admin::types::{self, BackendStatus, RouteStatus};
use crate::cli::asking::{Ending, Showing, end};
use crate::cli::client::{Answer, Client};
use crate::cli::facts::{facts, marks, place, uptime, warnings, weight};
use crate::cli::figures::plain;
use crate::cli::paint::{Ink, Paint};
use crate::cli::{complain, history, watch};

/// How many of the last changes are shown.
const CHANGES: usize = 5;
/// How wide the names of the figures are.
const NAMES: usize = 14;

/// See what is live: weights, modes, health, traffic, errors and latency of both sides.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Go on showing it, and steer by keys
    #[arg(long, short, conflicts_with = "json")]
    watch: bool,
    #[command(flatten)]
    showing: Showing,
}

impl Status {
    pub(super) fn carry_out(self) -> ExitCode {
        if self.watch {
            return self.live();
        }
        let paint = Paint::of_output();
        let answer: Result<Answer<types::Status>, Ending> = self.showing.ask("/api/v1/status");
        end(answer, self.showing.json, |status| page(&status, paint))
    }

    fn live(&self) -> ExitCode {
        let client = match self.showing.which.place() {
            Ok(place) => Client::new(place),
            Err(error) => return complain(&error),
        };
        match watch::watch(&client) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        }
    }
}

fn page(status: &types::Status, paint: Paint) -> String {
    let mut lines: Vec<String> =
        warnings(status).iter().map(|text| paint.on(Ink::Bad, &format!("! {text}"))).collect();
    let about = format!("Crossfade {}, {}", plain(&status.version), uptime(status));
    lines.push(format!(
        "{}  {}",
        paint.on(Ink::Bold, &format!("revision {}", status.revision)),
        paint.on(Ink::Faint, &about)
    ));
    for route in &status.routes {
        lines.push(String::new());
        lines.extend(block(route, paint));
    }
    if !status.history.is_empty() {
        lines.extend([String::new(), paint.on(Ink::Bold, "last changes")]);
        let last = &status.history[..status.history.len().min(CHANGES)];
        lines.push(history::table(last, &status.at, paint));
    }
    lines.join("\n")
}

fn block(route: &RouteStatus, paint: Paint) -> Vec<String> {
    let mut head = paint.on(Ink::Bold, &plain(&route.name));
    for mark in marks(route) {
        head.push_str(&format!("  {}", paint.on(Ink::Bad, &format!("[{mark}]"))));
    }
    head.push_str(&format!("  {}", paint.on(Ink::Faint, &place(route))));
    let columns: Vec<Column> = route.backends.iter().map(|backend| Column::of(backend, route)).collect();
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let mut lines = vec![head];
    lines.extend((0..rows).map(|row| {
        let name = columns.first().map_or("", |column| column.cells[row].0);
        let mut line = format!("  {}", paint.column(Ink::Faint, name, NAMES));
        for column in &columns {
            let (_, ink, text) = &column.cells[row];
            line.push_str(&paint.column(*ink, text, column.width));
        }
        line.trim_end().to_owned()
    }));
    lines
}

/// A backend from top to bottom: name of the figure, its ink, its text.
struct Column {
    cells: Vec<(&'static str, Ink, String)>,
    width: usize,
}

impl Column {
    fn of(backend: &BackendStatus, route: &RouteStatus) -> Self {
        let is_stable = backend.name == route.stable;
        let ink = if is_stable { Ink::Stable } else { Ink::Candidate };
        let name = format!("{}{}", plain(&backend.name), if is_stable { " (stable)" } else { "" });
        let mut cells = vec![("", ink, name), ("weight", Ink::Bold, weight(backend))];
        let facts = facts(backend).into_iter();
        cells
            .extend(facts.map(|fact| (fact.name, if fact.alarm { Ink::Bad } else { Ink::Plain }, fact.text)));
        let width = cells.iter().map(|(_, _, text)| text.chars().count()).max().unwrap_or(0) + 3;
        Self { cells, width }
    }
}
