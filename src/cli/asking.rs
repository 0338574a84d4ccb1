//! What the verbs that change something, and those that show something, have in common: their options, their question,
//! and how they end.
//!
//! Each verb's file calls it with what is its own. It must never print a change that the proxy hasn't told of.

use std::process::ExitCode;

use clap::Args;
use serde::de::DeserializeOwned;

use crate::cli::client::{Answer, Client, Trouble};
use crate::cli::figures::{change, plain};
use crate::cli::place::Which;
use crate::cli::{complain, print, report};
use crate::control::command::{Applied, CommandBody};

/// How a change is asked for.
#[derive(Debug, Args)]
pub(super) struct Asking {
    /// Why, for the history
    #[arg(long, short = 'm', value_name = "TEXT")]
    reason: Option<String>,
    /// Say what would change, and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Only if this revision is live
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    #[command(flatten)]
    showing: Showing,
}

/// How something is shown.
#[derive(Debug, Args)]
pub(super) struct Showing {
    /// Print what the API answers, as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) which: Which,
}

/// Which route.
#[derive(Debug, Args)]
pub(super) struct OfRoute {
    /// This route alone; else every route that it fits
    #[arg(long, short, value_name = "NAME")]
    pub(super) route: Option<String>,
}

impl Asking {
    /// Asks, waits until it is live, and says what has changed.
    pub(super) fn carry_out(self, body: CommandBody) -> ExitCode {
        let Self { reason, dry_run, if_revision, showing } = self;
        let body = CommandBody { reason, dry_run, if_revision, actor: actor(), ..body };
        let showing_json = showing.json;
        end(
            showing.client().and_then(|client| client.command(&body).map_err(Ending::from)),
            showing_json,
            told,
        )
    }
}

impl Showing {
    /// Asks, and prints what is answered, as `shown` sets it.
    pub(super) fn carry_out<T: DeserializeOwned>(
        self,
        path: &str,
        shown: impl FnOnce(T) -> String,
    ) -> ExitCode {
        end(self.ask(path), self.json, shown)
    }

    /// Asks.
    pub(super) fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Ending> {
        self.client().and_then(|client| client.see(path).map_err(Ending::from))
    }

    pub(super) fn client(&self) -> Result<Client, Ending> {
        self.which.place().map(Client::new).map_err(Ending::Nowhere)
    }
}

/// How a verb ends without an answer.
pub(super) enum Ending {
    /// It isn't said where the proxy is.
    Nowhere(String),
    /// There it came to nothing.
    Trouble(Trouble),
}

impl From<Trouble> for Ending {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Who is at the terminal, also behind `sudo`.
pub(super) fn actor() -> Option<String> {
    let known = |name: &&str| std::env::var(name).is_ok_and(|who| !who.trim().is_empty());
    let name = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find(known)?;
    std::env::var(name).ok().map(|who| plain(&who).trim().chars().take(64).collect())
}

/// What has changed, what to know, and what is live.
fn told(applied: Applied) -> String {
    let Applied { revision, dry_run, changes, notes, .. } = applied;
    let mut lines: Vec<String> = changes.iter().map(change).collect();
    if lines.is_empty() && notes.is_empty() {
        lines.push("nothing to change".to_owned());
    }
    lines.extend(notes.iter().map(|note| format!("note: {}", plain(note))));
    lines.push(match dry_run {
        true => format!("dry run: nothing changed; revision {revision} is live"),
        false => format!("revision {revision} is live"),
    });
    lines.join("\n")
}

/// Prints what was answered, or says why nothing was.
pub(super) fn end<T>(
    outcome: Result<Answer<T>, Ending>,
    json: bool,
    shown: impl FnOnce(T) -> String,
) -> ExitCode {
    match outcome {
        Ok(answer) => {
            let text = if json { answer.json.trim_end().to_owned() } else { shown(answer.value) };
            // The file is exported to its last byte.
            print(text.strip_suffix('\n').unwrap_or(&text));
            ExitCode::SUCCESS
        }
        Err(Ending::Nowhere(error)) => complain(&error),
        Err(Ending::Trouble(trouble)) => refuse(&trouble, json),
    }
}

/// One sentence, or the report of a configuration as it came; for programs what the API said, too.
fn refuse(trouble: &Trouble, json: bool) -> ExitCode {
    if let (Trouble::Refused(answer), true) = (trouble, json) {
        print(answer.json.trim_end());
    }
    match trouble.to_string() {
        text if text.trim_end().contains('\n') => report(&text),
        text => complain(&plain(text.trim_end())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::model::Mode;
    use crate::control::record::{Change, RouteState};

    fn state(fly: f64) -> RouteState {
        let weights = BTreeMap::from([("fly".to_owned(), fly), ("heroku".to_owned(), 100.0 - fly)]);
        RouteState { weights, mode: Mode::Open, rolled_back: false }
    }

    #[test]
    fn what_has_changed_comes_first_and_what_is_live_last() {
        let changes = vec![Change { route: "web".to_owned(), from: Some(state(5.0)), to: Some(state(25.0)) }];
        let notes = vec!["a restart\x1b[2J would forget it".to_owned()];
        let applied = Applied { revision: 12, dry_run: false, changes, notes, kept: false };
        let expected =
            "web: heroku 95 -> 75 %, fly 5 -> 25 %\nnote: a restart [2J would forget it\nrevision 12 is live";
        assert_eq!(told(applied.clone()), expected);
        let dry = Applied { dry_run: true, changes: Vec::new(), notes: Vec::new(), ..applied };
        assert_eq!(told(dry), "nothing to change\ndry run: nothing changed; revision 12 is live");
    }
}
