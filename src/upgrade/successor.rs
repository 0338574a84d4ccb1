//! The old process's side of an upgrade: the new process, from its start until it serves or is ended.
//!
//! `app` leads it through. Whatever it does or doesn't do takes a bounded time, and it is ended unless it was let go.
//! It must never end any other process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::config::limits::{UPGRADE_KILLED, UPGRADE_PREPARE, UPGRADE_SERVE};
use crate::telemetry::carried::Totals;
use crate::upgrade::channel::Channel;
use crate::upgrade::message::{FromPredecessor, FromSuccessor, Go, PROTOCOL, Passed, Place};
use crate::upgrade::predecessor::MARK;
use crate::upgrade::program::Program;

/// A new process.
#[derive(Debug)]
pub struct Successor {
    child: Option<Child>,
    channel: Channel,
    /// Its process id.
    pub pid: u32,
    /// The version of its program.
    pub version: String,
}

/// A new process that serves.
#[derive(Debug)]
pub struct Serving {
    /// The revision that is live there.
    pub revision: u64,
    /// The places of the sockets that it goes on with.
    pub adopted: Vec<Place>,
}

impl Successor {
    /// Starts the program at `path`.
    ///
    /// # Errors
    /// The machine doesn't.
    pub fn spawn(program: &Program, path: &Path) -> Result<Self, UpgradeError> {
        let (ours, its) = UnixStream::pair()?;
        let mut command = Command::new(path);
        command.arg0(program.name()).args(program.arguments());
        command.env(MARK, std::process::id().to_string()).stdin(Stdio::from(OwnedFd::from(its)));
        let started = |error| UpgradeError::Start { path: path.to_owned(), error };
        let child = command.spawn().map_err(started)?;
        let pid = child.id().unwrap_or_default();
        Ok(Self { child: Some(child), channel: Channel::of(ours)?, pid, version: String::new() })
    }

    /// Waits until it could serve, with these sockets.
    ///
    /// # Errors
    /// Why it can't; it has ended then.
    pub async fn prepared(
        &mut self,
        sockets: impl Iterator<Item = &(Passed, OwnedFd)>,
    ) -> Result<(), UpgradeError> {
        let sockets: Vec<_> = sockets.collect();
        match timeout(UPGRADE_PREPARE, self.prepare(&sockets)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.end(error).await),
            Err(_) => Err(self.end(UpgradeError::Slow("ready to serve", UPGRADE_PREPARE)).await),
        }
    }

    /// Hands everything on to it, and waits until it serves.
    ///
    /// # Errors
    /// Why it doesn't. It is still there.
    pub async fn go(&mut self, go: Go) -> Result<Serving, UpgradeError> {
        let asked = async {
            self.channel.send(&FromPredecessor::Go(Box::new(go))).await?;
            match self.channel.receive().await? {
                FromSuccessor::Serving { revision, adopted } => Ok(Serving { revision, adopted }),
                other => Err(unexpected(other)),
            }
        };
        timeout(UPGRADE_SERVE, asked).await.unwrap_or(Err(UpgradeError::Slow("serving", UPGRADE_SERVE)))
    }

    /// Ends it, and waits until it has, for a bounded time. What is known of why goes into the error.
    pub async fn end(&mut self, error: UpgradeError) -> UpgradeError {
        if let (UpgradeError::Channel(_), Some(child)) = (&error, &mut self.child) {
            // It has ended of its own accord, or is about to.
            if let Ok(Ok(status)) = timeout(UPGRADE_KILLED, child.wait()).await {
                self.child = None;
                return UpgradeError::Ended(status);
            }
        }
        self.stop().await;
        error
    }

    /// Ends it, and waits until it has, for a bounded time.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It may have ended. One that can't be now waits for a disk, and will be as soon as that answers.
        let _ = child.start_kill();
        let _ = timeout(UPGRADE_KILLED, child.wait()).await;
    }

    /// Lets it live on: it serves.
    pub fn let_go(&mut self) {
        self.child = None;
    }

    /// Tells what has been counted by now. Whether anybody still listens.
    pub async fn tell(&mut self, totals: Totals, behind: u32) -> bool {
        self.channel.send(&FromPredecessor::Counts { totals, behind }).await.is_ok()
    }

    async fn prepare(&mut self, sockets: &[&(Passed, OwnedFd)]) -> Result<(), UpgradeError> {
        match self.channel.receive().await? {
            FromSuccessor::Hello { protocol: PROTOCOL, version } => self.version = version,
            FromSuccessor::Hello { version, .. } => return Err(UpgradeError::Foreign(version)),
            other => return Err(unexpected(other)),
        }
        let passed = sockets.iter().map(|(passed, _)| passed.clone()).collect();
        self.channel.send(&FromPredecessor::Welcome { sockets: passed }).await?;
        for (_, socket) in sockets {
            self.channel.send_socket(socket.as_fd()).await?;
        }
        match self.channel.receive().await? {
            FromSuccessor::Prepared => Ok(()),
            other => Err(unexpected(other)),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // One that nobody waits for any more.
        let _ = self.child.take().map(|mut child| child.start_kill());
    }
}

/// Why there is no new process. The old one serves on.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// There is no such program, or it is none.
    #[error("can't start {}: {error}; put a program there that runs on this machine", path.display())]
    Start {
        /// What was to be started.
        path: PathBuf,
        /// What the machine says.
        error: io::Error,
    },
    /// It said why, and ended.
    #[error("the new process can't serve: {0}")]
    Failed(String),
    /// It ended without a word to us.
    #[error("the new process ended before it served ({0}); what it wrote to standard error says why")]
    Ended(ExitStatus),
    /// It took too long.
    #[error("the new process wasn't {0} within {seconds} s, and was ended", seconds = .1.as_secs())]
    Slow(&'static str, Duration),
    /// Its version can't take over from ours.
    #[error("version {0} can't take over from a running process of this version: restart it instead")]
    Foreign(String),
    /// This process can't let go.
    #[error("this process can't hand over now: {0}")]
    Unable(String),
    /// It broke off.
    #[error("the new process broke off: {0}")]
    Channel(#[from] io::Error),
}

fn unexpected(message: FromSuccessor) -> UpgradeError {
    match message {
        FromSuccessor::Failed { error } => {
            let error = error.trim();
            UpgradeError::Failed(error.strip_prefix("error: ").unwrap_or(error).to_owned())
        }
        _ => UpgradeError::Channel(io::Error::new(
            io::ErrorKind::InvalidData,
            "it says what has no place here",
        )),
    }
}
