//! Where a revision comes from: what the history says of it.
//!
//! The Controller makes one for each command. It must never be anybody's word for who may do what.

use crate::control::command::{Driver, Source, Steer};
use crate::control::shown::command;

/// Where a revision comes from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// Who asked.
    pub(super) actor: String,
    /// Which way it came.
    pub(super) via: &'static str,
    /// What was asked for.
    pub(super) command: String,
    /// Why.
    pub(super) reason: Option<String>,
    /// The revision before which an undo goes back to.
    pub(super) undoes: Option<u64>,
}

impl Origin {
    /// Of ourselves.
    pub(super) fn of(via: &'static str, command: String) -> Self {
        Self { actor: "crossfade".to_owned(), via, command, reason: None, undoes: None }
    }

    /// Of a person.
    pub(super) fn of_driver(steer: &Steer, driver: Driver) -> Self {
        let (command, reason) = (command(steer), steer.reason.clone());
        Self { actor: driver.actor, via: driver.via, command, reason, undoes: None }
    }
}

impl From<Source> for Origin {
    fn from(source: Source) -> Self {
        let command = match source {
            Source::File | Source::Hangup => "load",
            Source::Certificates => "refresh",
        };
        Self::of(source.as_str(), command.to_owned())
    }
}
