//! What can be asked of the Controller, and the way there.
//!
//! Sources hold a [`Commands`] and wait for the outcome. A new command is a new variant here and an arm in
//! the Controller.

use tokio::sync::{mpsc, oneshot};

use crate::config::limits::COMMANDS;

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
    /// The word for it in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Certificates => "certificates",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This revision is live.
    Live(u64),
    /// Nothing has changed; every problem is named.
    Refused(String),
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
