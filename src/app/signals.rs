//! What reaches the process from its machine while it serves: signals, and systemd's wish to hear of it.
//!
//! `app` listens before anything else: a signal that comes before its handler ends the process. It must never change
//! anything itself.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::Succession;
use crate::control::command::{Command, Commands, Driver, Steer, Verb};
use crate::upgrade::notify::Notifier;

/// Signals, and who is told what comes of them.
pub(super) struct Signals {
    /// SIGHUP: read the configuration, open the logs anew.
    pub(super) hangup: Signal,
    /// SIGUSR2: have another process take over.
    upgrade: Option<Signal>,
    /// Systemd.
    pub(super) notifier: Notifier,
}

impl Signals {
    /// Listens.
    ///
    /// # Errors
    /// The machine gives no handler.
    pub(super) fn listen(succession: &Succession) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let (upgrade, notifier) = match succession {
            Succession::None => (None, Notifier::default()),
            Succession::By { .. } => (Some(signal(SignalKind::user_defined2())?), Notifier::of_environment()),
        };
        Ok(Self { hangup, upgrade, notifier })
    }

    /// Tells systemd that we serve, and from now on that we live; carries upgrades out that are asked for by a signal.
    /// `follows`: the process before has told that already.
    pub(super) fn begin(&mut self, follows: bool, commands: &Commands) {
        if !follows {
            self.notifier.ready("serving");
        }
        if let Some(pause) = self.notifier.watchdog(follows) {
            let notifier = self.notifier.clone();
            tokio::spawn(async move {
                loop {
                    notifier.alive();
                    tokio::time::sleep(pause).await;
                }
            });
        }
        if let Some(asked) = self.upgrade.take() {
            tokio::spawn(upgrade_when(asked, commands.clone()));
        }
    }
}

async fn upgrade_when(mut asked: Signal, commands: Commands) {
    while asked.recv().await.is_some() {
        let steer =
            Steer { verb: Verb::Upgrade, route: None, reason: None, if_revision: None, dry_run: false };
        let driver = Driver { actor: "crossfade".to_owned(), via: "SIGUSR2" };
        // What comes of it is in the log.
        commands.ask(Command::Steer { steer, driver }).await;
    }
}
