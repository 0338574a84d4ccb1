//! What is kept of each revision: who changed what, when and why.
//!
//! The Controller makes them, the journal keeps them, the admin API shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::model::Mode;

/// One revision of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Its number.
    pub revision: u64,
    /// When it went live, as RFC 3339 says it.
    pub at: String,
    /// Who: a person's name, `uid 1000`, `token`, or `crossfade` itself.
    pub actor: String,
    /// Which way it came: `socket`, `admin`, `file`, `SIGHUP`, `certificates`, `upgrade` or `start`.
    pub via: String,
    /// What was asked for, as on the command line: `shift fly 5%`.
    pub command: String,
    /// Why, in the driver's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it changed, route by route.
    pub changes: Vec<Change>,
    /// The revision before which an undo went back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
}

/// What changed of one route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Its name.
    pub route: String,
    /// Before; left out where the route is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RouteState>,
    /// After; left out where the route is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<RouteState>,
}

/// What can be changed of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteState {
    /// The share of each backend, in percent of the route's requests.
    pub weights: BTreeMap<String, f64>,
    /// What it does with requests.
    pub mode: Mode,
    /// Rolled back: everything goes to stable, pins and sticky visitors too.
    pub rolled_back: bool,
}
