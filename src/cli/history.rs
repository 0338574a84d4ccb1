//! `crossfade history`: who changed what, when and why.
//!
//! `cli` calls it; `status` and its live view set their last changes by the same rows. It must never shorten what was
//! changed.

use std::process::ExitCode;

use clap::Args;

use crate::admin::types;
use crate::cli::asking::Showing;
use crate::cli::figures::{between, change, moment, plain, span};
use crate::cli::paint::{Ink, Paint};
use crate::control::record::Record;

/// See who changed what, when and why, the newest first.
#[derive(Debug, Args)]
pub(super) struct History {
    /// So many of them at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    showing: Showing,
}

impl History {
    pub(super) fn carry_out(self) -> ExitCode {
        let now = jiff::Timestamp::now().to_string();
        let path = format!("/api/v1/history?limit={}", self.limit);
        let shown = |history: types::History| table(&history.revisions, &now, Paint::of_output());
        self.showing.carry_out(&path, shown)
    }
}

/// One row for each revision, below it what has changed and why.
pub(super) fn table(records: &[Record], now: &str, paint: Paint) -> String {
    let rows: Vec<Row> = records.iter().map(|record| Row::of(record, now)).collect();
    let wide = |pick: fn(&Row) -> &str, head: &str| {
        rows.iter().map(|row| pick(row).chars().count()).max().unwrap_or(0).max(head.len())
    };
    let widths =
        [wide(|row| &row.revision, "REV"), 19, wide(|row| &row.ago, "AGO"), wide(|row| &row.who, "WHO")];
    let line = |cells: [&str; 5], ink: Ink| {
        let [revision, rest @ ..] = cells;
        let [when, ago, who, what] = rest;
        let text = format!(
            "{revision:>0$}  {when:<1$}  {ago:>2$}  {who:<3$}  ",
            widths[0], widths[1], widths[2], widths[3]
        );
        (paint.on(ink, &text) + &paint.on(if ink == Ink::Plain { Ink::Bold } else { ink }, what))
            .trim_end()
            .to_owned()
    };
    let mut lines = vec![line(["REV", "WHEN (UTC)", "AGO", "WHO", "WHAT"], Ink::Faint)];
    let indent = " ".repeat(widths[0] + 2);
    for row in &rows {
        lines.push(line([&row.revision, &row.when, &row.ago, &row.who, &row.what], Ink::Plain));
        lines.extend(row.below.iter().map(|text| format!("{indent}{}", paint.on(Ink::Faint, text))));
    }
    lines.join("\n")
}

/// A revision in words.
pub(super) struct Row {
    pub(super) revision: String,
    pub(super) when: String,
    pub(super) ago: String,
    pub(super) who: String,
    pub(super) what: String,
    /// What has changed, and why.
    pub(super) below: Vec<String>,
}

impl Row {
    /// A record as it is told at the time `now`.
    pub(super) fn of(record: &Record, now: &str) -> Self {
        let who = match record.actor == record.via {
            true => plain(&record.actor),
            false => format!("{}, {}", plain(&record.actor), plain(&record.via)),
        };
        let mut below: Vec<String> = record.changes.iter().map(change).collect();
        below.extend(record.reason.as_ref().map(|reason| format!("reason: {}", plain(reason))));
        below.extend(record.undoes.map(|revision| format!("back to before revision {revision}")));
        Self {
            revision: record.revision.to_string(),
            when: moment(&record.at),
            ago: between(&record.at, now).map_or_else(String::new, span),
            who,
            what: plain(&record.command),
            below,
        }
    }
}
