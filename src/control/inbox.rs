//! The commands that wait for the Controller, with a look at who is next.
//!
//! The Controller alone has one. It must never lose a command, nor let one pass another.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::control::command::{Asked, Command};

/// Commands in the order in which they came.
#[derive(Debug)]
pub(super) struct Inbox {
    asked: mpsc::Receiver<Asked>,
    /// Those that were looked at.
    seen: VecDeque<Asked>,
}

impl Inbox {
    /// Of what is asked.
    pub(super) fn new(asked: mpsc::Receiver<Asked>) -> Self {
        Self { asked, seen: VecDeque::new() }
    }

    /// The next command; nothing once nobody can ask any more.
    pub(super) async fn next(&mut self) -> Option<Asked> {
        match self.seen.pop_front() {
            Some(next) => Some(next),
            None => self.asked.recv().await,
        }
    }

    /// Returns once a person waits, whoever stands before them. At most [`COMMANDS`] are looked at: who asks waits.
    pub(super) async fn is_called(&mut self) {
        let is_person = |asked: &Asked| match &asked.command {
            Command::Steer { steer, .. } => !steer.dry_run,
            Command::Load { .. }
            | Command::Refresh { .. }
            | Command::Unreadable { .. }
            | Command::HandOver(_) => false,
        };
        while !self.seen.iter().any(is_person) {
            match self.asked.recv().await {
                Some(asked) => self.seen.push_back(asked),
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::control::command::{Driver, Source, Steer, Verb};

    fn steer() -> Command {
        let steer =
            Steer { verb: Verb::Rollback, route: None, reason: None, if_revision: None, dry_run: false };
        Command::Steer { steer, driver: Driver { actor: "alice".to_owned(), via: "socket" } }
    }

    #[tokio::test]
    async fn a_person_is_heard_without_losing_their_place() {
        let (sender, asked) = mpsc::channel(4);
        let mut inbox = Inbox::new(asked);
        assert!(timeout(Duration::from_millis(5), inbox.is_called()).await.is_err(), "nobody waits");
        for command in [Command::Refresh { source: Source::Hangup }, steer()] {
            sender.send(Asked { command, answer: oneshot::channel().0 }).await.unwrap();
        }
        inbox.is_called().await;
        assert!(matches!(inbox.next().await.unwrap().command, Command::Refresh { .. }));
        inbox.is_called().await;
        inbox.is_called().await;
        assert!(matches!(inbox.next().await.unwrap().command, Command::Steer { .. }));
        drop(sender);
        assert!(inbox.next().await.is_none());
        assert!(timeout(Duration::from_millis(5), inbox.is_called()).await.is_err(), "nobody can ask");
    }
}
