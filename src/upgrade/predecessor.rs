//! The new process's side of an upgrade: what the process before it hands on.
//!
//! `cli::run` looks for it before anything else, `app` takes what comes. It must never take somebody's standard input
//! for a predecessor, nor outlive one that gives up before [`Go`].

use std::env;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::socket_peercred;
use rustix::stdio::{dup2_stdin, stdin};

use crate::server::listener::Listening;
use crate::telemetry::carried::Totals;
use crate::upgrade::channel::{Channel, send_last};
use crate::upgrade::inherited::Inherited;
use crate::upgrade::message::{FromPredecessor, FromSuccessor, Go, PROTOCOL, Place};

/// The variable by which a process tells its successor that it is one: its own process id.
pub const MARK: &str = "CROSSFADE_HANDOFF";

/// The process that started this one, to be replaced by it.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// Whoever is at the other end of our standard input, if that is what the environment says. The variable alone
    /// means nothing: whom we start ourselves would have it, too.
    pub fn of_environment() -> Option<Self> {
        let pid = env::var(MARK).ok()?.parse::<i32>().ok()?;
        let peer = socket_peercred(stdin()).ok()?.pid;
        let socket = stdin().try_clone_to_owned().ok().filter(|_| peer.as_raw_nonzero().get() == pid)?;
        dup2_stdin(File::open("/dev/null").ok()?).ok()?;
        Some(Self(socket.into()))
    }

    /// Another handle, for somebody who has to say that it came to nothing.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn complaint(&self) -> io::Result<Complaint> {
        self.0.try_clone().map(Complaint)
    }

    /// Says who we are, and takes the listening sockets.
    ///
    /// # Errors
    /// It is gone, or says what we don't understand.
    pub async fn greet(self) -> io::Result<(Handoff, Inherited)> {
        let mut channel = Channel::of(self.0)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        channel.send(&FromSuccessor::Hello { protocol: PROTOCOL, version }).await?;
        let FromPredecessor::Welcome { sockets } = channel.receive().await? else { return Err(unexpected()) };
        let mut inherited = Inherited::default();
        for passed in sockets {
            let socket = channel.receive_socket().await?;
            let listening = match passed.place {
                Place::Tcp { .. } => Listening::Tcp(socket.into()),
                Place::Unix { .. } => Listening::Unix(socket.into()),
            };
            inherited.push(passed, listening);
        }
        Ok((Handoff(channel), inherited))
    }
}

/// An upgrade under way.
#[derive(Debug)]
pub struct Handoff(Channel);

impl Handoff {
    /// Says that we could serve, and waits until we are to.
    ///
    /// # Errors
    /// It has gone, or thought better of it.
    pub async fn prepared(&mut self) -> io::Result<Go> {
        self.0.send(&FromSuccessor::Prepared).await?;
        match self.0.receive().await? {
            FromPredecessor::Go(go) => Ok(*go),
            FromPredecessor::Welcome { .. } | FromPredecessor::Counts { .. } => Err(unexpected()),
        }
    }

    /// Says that we serve.
    ///
    /// # Errors
    /// It has gone: we serve all the same.
    pub async fn serving(&mut self, revision: u64, adopted: Vec<Place>) -> io::Result<()> {
        self.0.send(&FromSuccessor::Serving { revision, adopted }).await
    }

    /// Tells `counted` of all that it counts until it ends, and how many processes drain behind it.
    pub async fn follow(mut self, mut counted: impl FnMut(Totals, u32)) {
        while let Ok(message) = self.0.receive().await {
            if let FromPredecessor::Counts { totals, behind } = message {
                counted(totals, behind);
            }
        }
    }
}

/// What says that nothing came of it.
#[derive(Debug)]
pub struct Complaint(UnixStream);

impl Complaint {
    /// Says why.
    pub fn say(self, error: &str) {
        // Whoever has gone needn't know.
        let _ = send_last(&self.0, &FromSuccessor::Failed { error: error.to_owned() });
    }
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the process before says what has no place here")
}
