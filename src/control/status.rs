//! What can be seen of the process from outside: what is live, how it came to be, and what is wrong, if anything is.
//!
//! The Controller tells, `admin` shows. It must never hold anything that takes long to clone: what is large is shared.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::control::record::{Record, RouteState};

/// The state of control.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// The live revision.
    pub revision: u64,
    /// Every problem of the configuration that was refused last, if that is the latest there is.
    pub refused: Option<String>,
    /// The process is about to end.
    pub draining: bool,
    /// Why changes would be lost by a restart, if they would.
    pub state_trouble: Option<String>,
    /// The last revisions, the oldest first; [`HISTORY`](crate::config::limits::HISTORY) at the most.
    pub history: Arc<VecDeque<Arc<Record>>>,
    /// In the order of the file.
    pub routes: Arc<[RouteShown]>,
    /// The file that serves; nothing for a start without one.
    pub file: Option<Arc<FileText>>,
    /// How each backend does, by its name.
    pub health: Arc<BTreeMap<String, HealthShown>>,
}

/// A route, as it is live.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteShown {
    /// Its name.
    pub name: String,
    /// Its host patterns; empty means any.
    pub hosts: Vec<String>,
    /// The begin of its paths.
    pub path: String,
    /// The backend that rollback returns to.
    pub stable: String,
    /// What can be changed of it, as it is live.
    pub live: RouteState,
    /// What the file says of that.
    pub file: RouteState,
    /// Its backends, by name.
    pub backends: Vec<BackendShown>,
}

/// A backend of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendShown {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub urls: Vec<String>,
}

/// How one backend does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HealthShown {
    /// In the order of the file.
    pub endpoints: Vec<EndpointShown>,
    /// Where its requests go, by route; nothing while it is up.
    pub instead: Option<String>,
}

/// How one endpoint does.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointShown {
    /// Where it is.
    pub url: String,
    /// Whether it gets requests.
    pub state: EndpointState,
    /// Since when, where it isn't up.
    pub since: Option<jiff::Timestamp>,
    /// Why, where it isn't up.
    pub why: Option<String>,
    /// What its last probe found, where it is probed.
    pub probe: Option<String>,
}

/// Whether an endpoint gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    /// It does.
    Up,
    /// Its probes say that it is down.
    Down,
    /// It is left out for a while for what requests met there.
    Ejected,
    /// It can't be connected to, time and again.
    Unreachable,
}

impl EndpointState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A configuration file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it: text that was taken.
    pub text: String,
}

/// The telling side.
pub type Statuses = watch::Sender<Status>;
/// The seeing side.
pub type Watching = watch::Receiver<Status>;
