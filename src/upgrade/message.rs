//! What two processes say to each other during an upgrade, as JSON.
//!
//! `predecessor` and `successor` send and read it. Two versions of the program meet here: a field that is added needs a
//! default, one that goes or changes its meaning another [`PROTOCOL`].

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::control::overrides::Overrides;
use crate::control::record::Record;
use crate::telemetry::carried::Totals;

/// The version of this conversation. A program that speaks another isn't upgraded to.
pub const PROTOCOL: u32 = 1;

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromSuccessor {
    /// It has started, and reads its configuration.
    Hello {
        /// Of this conversation.
        protocol: u32,
        /// Of the program.
        version: String,
    },
    /// All that can fail has gone well. Nobody is served yet.
    Prepared,
    /// It serves.
    Serving {
        /// The revision that is live.
        revision: u64,
        /// The places of the sockets that it goes on with, as they were told.
        adopted: Vec<Place>,
    },
    /// It can't serve, and ends.
    Failed {
        /// Why: a sentence, or a report of every problem of a configuration.
        error: String,
    },
}

/// What the old process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromPredecessor {
    /// Its listening sockets, which follow one by one.
    Welcome {
        /// In the order in which they follow.
        sockets: Vec<Passed>,
    },
    /// It takes no more changes: from now on the new process has them.
    Go(Box<Go>),
    /// What it has counted by now.
    Counts {
        /// All of it, not what is new.
        totals: Totals,
        /// Processes that drain behind it.
        behind: u32,
    },
}

/// Everything that is live.
#[derive(Debug, Serialize, Deserialize)]
pub struct Go {
    /// The number of the live revision.
    pub revision: u64,
    /// What commands have laid on the file.
    pub overrides: Overrides,
    /// The last revisions, the oldest first.
    pub history: Vec<Record>,
    /// What was counted.
    pub totals: Totals,
    /// Processes that drain behind the one that says this.
    pub behind: u32,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// What it was for.
    pub purpose: Purpose,
    /// Where it listens.
    pub place: Place,
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// At an address.
    Tcp {
        /// As the configuration says it.
        asked: SocketAddr,
        /// The port filled in.
        bound: SocketAddr,
    },
    /// At a path.
    Unix {
        /// The path.
        path: PathBuf,
        /// Device and inode of its file, where that matters.
        file: Option<(u64, u64)>,
    },
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Visitors in the clear.
    Http,
    /// Visitors over TLS.
    Https,
    /// Metrics and health.
    Metrics,
    /// The admin API over TCP.
    Admin,
    /// The admin API in the state directory.
    AdminSocket,
}

impl Purpose {
    /// The word for it, also as the name of a socket of systemd's (`FileDescriptorName=`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
            Self::AdminSocket => "admin-socket",
        }
    }
}
