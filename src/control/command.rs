//! What can be asked of the Controller, and the way there.
//!
//! Sources, the admin API and so the command line hold a [`Commands`] and wait for the outcome. A new command is a
//! new variant here and an arm in the Controller. The types with `ToSchema` are the API's: what the command line
//! sends and prints, what the dashboard reads, what the journal keeps. It must never decide anything.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use crate::config::limits::COMMANDS;
use crate::config::model::Mode;
use crate::control::handover::Handover;
use crate::control::record::Change;

/// A change that somebody asks for.
#[derive(Debug)]
pub enum Command {
    /// Serve by this text of the configuration file.
    Load {
        /// The file's bytes, as read.
        bytes: Vec<u8>,
        /// What noticed them.
        source: Source,
    },
    /// Serve by the same configuration, read anew what its files hold: certificates, authorities.
    Refresh {
        /// What noticed that they have changed.
        source: Source,
    },
    /// The file can't be read.
    Unreadable {
        /// Why.
        error: String,
        /// What noticed it.
        source: Source,
    },
    /// The process that follows is ready: it is to have everything.
    HandOver(Handover),
    /// Somebody drives.
    Steer {
        /// What is asked.
        steer: Steer,
        /// By whom.
        driver: Driver,
    },
}

/// What brings a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The file has changed; the same content again is no change.
    File,
    /// A file of certificates or authorities has changed.
    Certificates,
    /// SIGHUP: somebody wants it read, whatever it holds.
    Hangup,
}

impl Source {
    /// The word for it in events and history.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Certificates => "certificates",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// Who asks, and which way it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// Who: what the request says, else what the way says (`uid 1000`, `token`).
    pub actor: String,
    /// The way: `socket` or `admin`.
    pub via: &'static str,
}

/// A parsed command of a driver.
#[derive(Debug, Clone, PartialEq)]
pub struct Steer {
    /// What to do.
    pub verb: Verb,
    /// For which route; nothing for every route that it fits.
    pub route: Option<String>,
    /// Why, in the driver's words.
    pub reason: Option<String>,
    /// Only if this revision is live.
    pub if_revision: Option<u64>,
    /// Say what would change, change nothing.
    pub dry_run: bool,
}

/// What a driver can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// Give a backend another share.
    Shift {
        /// Which.
        backend: String,
        /// How much.
        to: Portion,
    },
    /// Everything to stable, at once, pins and sticky visitors too.
    Rollback,
    /// Weights and modes as they were before a revision.
    Undo {
        /// Which; nothing for the last change that isn't undone.
        revision: Option<u64>,
    },
    /// What the route does with requests.
    Mode(Mode),
    /// Read the configuration file now.
    Reload,
    /// Have the program that is installed now take over.
    Upgrade,
    /// Finish what is in flight, then end.
    Drain,
}

impl Verb {
    /// The word for it on the command line and in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shift { .. } => "shift",
            Self::Rollback => "rollback",
            Self::Undo { .. } => "undo",
            Self::Mode(_) => "mode",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Drain => "drain",
        }
    }
}

/// How much a backend gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Portion {
    /// So many percent, 0 to 100.
    Percent(f64),
    /// So many percent more, or less.
    Delta(f64),
}

/// A command as it is sent to `POST /api/v1/commands`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandBody {
    /// What to do.
    pub command: CommandName,
    /// For which route. Left out: for every route that it fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// `shift`: which backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// `shift`: its share, 0 to 100 percent; the rest goes to stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub percent: Option<f64>,
    /// `shift`, instead of `percent`: so many percent more, or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -100, maximum = 100)]
    pub delta: Option<f64>,
    /// `mode`: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// `undo`: back to before this revision. Left out: before the last change that isn't undone yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Why: one line of up to 500 characters, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
    /// Who: one line of up to 64 characters, kept in the history. Left out: what the way says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub actor: Option<String>,
    /// Refused (409) unless this revision is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Says what would change, and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl CommandBody {
    /// A command of this name and nothing else.
    pub fn of(command: CommandName) -> Self {
        Self {
            command,
            route: None,
            backend: None,
            percent: None,
            delta: None,
            mode: None,
            revision: None,
            reason: None,
            actor: None,
            if_revision: None,
            dry_run: false,
        }
    }
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandName {
    /// Give a backend another share.
    Shift,
    /// Everything to stable at once: weights, pins, sticky visitors.
    Rollback,
    /// Take a change back.
    Undo,
    /// Open, or maintenance.
    Mode,
    /// Read the configuration file now.
    Reload,
    /// Have the program that is installed now take over; this process finishes what is in flight, then ends.
    Upgrade,
    /// Finish what is in flight, then end the process.
    Drain,
}

/// What a command came to: it is live on every worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The revision that is live now.
    pub revision: u64,
    /// Nothing was changed; `changes` says what would be.
    pub dry_run: bool,
    /// Route by route. Empty: it was so already.
    pub changes: Vec<Change>,
    /// What the driver should know: whether stable can take the load, what a restart would forget.
    pub notes: Vec<String>,
    /// Whether the change will survive a restart.
    pub kept: bool,
}

/// Why a command was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// One clear sentence, or a report of every problem of a configuration.
    pub error: String,
    /// The same for programs.
    pub reason: RefusedReason,
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusedReason {
    /// No route is called so.
    UnknownRoute,
    /// No backend of the route is called so.
    UnknownBackend,
    /// What is asked for can't be: percents outside 0 to 100, nothing to undo, words that don't belong together.
    Invalid,
    /// Another revision is live than the command was made for.
    StaleRevision,
    /// The configuration file has problems.
    Configuration,
    /// Another process was to take over, and doesn't: this one serves on.
    UpgradeFailed,
    /// Another process takes over already, or too many drain.
    UpgradeUnderWay,
    /// The body isn't a command.
    Malformed,
    /// No token, or a wrong one.
    Unauthorized,
    /// The request comes from another site, or for another host.
    Forbidden,
    /// Too many wrong tokens, or event streams; wait as long as `Retry-After` says.
    RateLimited,
    /// There is nothing at this path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// The body is too large, or isn't JSON by its `Content-Type`.
    Unsupported,
    /// The process is about to end.
    Ending,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is live.
    Live(Applied),
    /// Nothing has changed.
    Refused(Refused),
}

/// The sending side.
#[derive(Debug, Clone)]
pub struct Commands(mpsc::Sender<Asked>);

/// A command with the way back to whoever asked.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub command: Command,
    /// Where the outcome goes.
    pub answer: oneshot::Sender<Outcome>,
}

impl Commands {
    /// With the receiving side, which is the Controller's.
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(COMMANDS);
        (Self(sender), receiver)
    }

    /// Asks, and waits until it is live or refused. Nothing if the Controller has ended.
    pub async fn ask(&self, command: Command) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Asked { command, answer }).await.ok()?;
        outcome.await.ok()
    }
}
