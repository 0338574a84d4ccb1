//! Notices that the configuration file may have changed: events of its directories, SIGHUP, and a look every
//! few seconds for file systems without events (bind mounts, NFS).
//!
//! One task on the control thread. Whatever the hint, the content decides. It must never end while the
//! process serves: without events, the look remains.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::Signal;
use tokio::sync::Notify;

use crate::config::limits::CONFIG_POLL;
use crate::control::command::{Command, Commands, Source};
use crate::source::file::{read, read_at_rest};
use crate::source::symlinks::directories;
use crate::telemetry::events::{ConfigEvent, Event};

/// Watches `path`, which was `loaded`, and sends its content when that changes, or whenever SIGHUP asks.
/// `hung_up` is told of SIGHUP, too: log files rotate by it.
pub async fn watch(
    path: PathBuf,
    loaded: Vec<u8>,
    commands: Commands,
    hangup: Signal,
    hung_up: impl Fn(Hangup),
) {
    let mut hints = Hints::new(&path, hangup);
    // Not what the file holds by now: it may have changed between being loaded and being watched.
    let mut last = Some(loaded);
    hints.changed.notify_one();
    let mut missing = false;
    loop {
        let hint = hints.next().await;
        if matches!(hint, Hint::Hangup) {
            hung_up(Hangup::Heard);
        }
        // Most looks find what was there before, and need no rest.
        let now = read(&path);
        let same = now.as_ref().ok() == last.as_ref() && !missing;
        if matches!(hint, Hint::Look) && same {
            continue;
        }
        hints.renew(&path);
        // Something else may live in the file's directory, such as a log.
        if matches!(hint, Hint::Event) && same {
            continue;
        }
        let source = if matches!(hint, Hint::Hangup) { Source::Hangup } else { Source::File };
        match read_at_rest(&path).await {
            Ok(bytes) => {
                let again = matches!(hint, Hint::Hangup) || std::mem::take(&mut missing);
                if again || last.as_ref() != Some(&bytes) {
                    last = Some(bytes.clone());
                    commands.ask(Command::Load { bytes, source }).await;
                }
            }
            // Told once, not with each look.
            Err(error) if !std::mem::replace(&mut missing, true) || matches!(hint, Hint::Hangup) => {
                commands.ask(Command::Unreadable { error: format!("error: {error}"), source }).await;
            }
            Err(_) => {}
        }
        if matches!(hint, Hint::Hangup) {
            hung_up(Hangup::Done);
        }
    }
}

/// How far SIGHUP is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// It came.
    Heard,
    /// What it asks for is done, or refused.
    Done,
}

/// Why to look.
#[derive(Debug, Clone, Copy)]
enum Hint {
    /// Something happened in one of the directories.
    Event,
    /// SIGHUP.
    Hangup,
    /// It is time.
    Look,
}

struct Hints {
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    hangup: Signal,
}

impl Hints {
    fn new(path: &Path, hangup: Signal) -> Self {
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading makes events as well; only what may have changed counts.
            if event.map_or(true, |event| !event.kind.is_access()) {
                told.notify_one();
            }
        });
        let watcher = watcher.map_err(|error| trouble(path, &error)).ok();
        let mut this = Self { changed, watcher, watched: BTreeSet::new(), hangup };
        this.renew(path);
        this
    }

    async fn next(&mut self) -> Hint {
        tokio::select! {
            biased;
            _ = self.hangup.recv() => Hint::Hangup,
            () = self.changed.notified() => Hint::Event,
            () = tokio::time::sleep(CONFIG_POLL) => Hint::Look,
        }
    }

    /// Watches the directories that the file's name leads through now.
    fn renew(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted = directories(path);
        for gone in self.watched.difference(&wanted) {
            // A directory that was removed has taken its watch along.
            let _ = watcher.unwatch(gone);
        }
        self.watched.retain(|directory| wanted.contains(directory));
        for directory in wanted {
            if self.watched.contains(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(directory)),
                Err(error) => trouble(&directory, &error),
            }
        }
    }
}

fn trouble(path: &Path, error: &dyn std::fmt::Display) {
    Event::from(ConfigEvent::SourceTrouble { source: &path.display().to_string(), error }).log();
}
