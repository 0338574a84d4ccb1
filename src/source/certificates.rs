//! Notices that a file of certificates, keys or authorities has changed, whose names the configuration says.
//!
//! One task on the control thread. It looks at them every few seconds rather than listening for events: renewals come
//! once in two months, and in as many ways as there are tools. What has changed is read by the Controller. It must
//! never read a file itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::limits::{CONFIG_DEBOUNCE, CONFIG_POLL, CONFIG_READINGS};
use crate::control::command::{Command, Commands, Source};
use crate::snapshot::Snapshot;
use crate::snapshot::publish::Published;

/// Sends a [`Command::Refresh`] whenever one of the files has changed and rests.
pub async fn watch(published: Published, commands: Commands) {
    let mut revision = 0;
    let mut seen = Vec::new();
    loop {
        let snapshot = published.current();
        let mut now = marks(&snapshot);
        if snapshot.revision != revision {
            // Another configuration has read its files itself, but for what has come since.
            revision = snapshot.revision;
            seen = now.clone();
            let newer = |(_, mark): &Mark| mark.is_some_and(|mark| mark.changed >= snapshot.read_at);
            if now.iter().any(newer) {
                seen.clear();
            }
        }
        if now != seen {
            for _ in 0..CONFIG_READINGS {
                match rested(&snapshot, &now).await {
                    Some(later) => now = later,
                    None => break,
                }
            }
            seen = now;
            commands.ask(Command::Refresh { source: Source::Certificates }).await;
        }
        tokio::time::sleep(CONFIG_POLL).await;
    }
}

/// What the files are by now, if they have changed since: a certificate and its key are rarely written at once.
async fn rested(snapshot: &Snapshot, before: &[Mark]) -> Option<Vec<Mark>> {
    tokio::time::sleep(CONFIG_DEBOUNCE).await;
    let now = marks(snapshot);
    (now != before).then_some(now)
}

/// What tells one state of a file from another: its path, and nothing else where it isn't there.
type Mark = (PathBuf, Option<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    inode: u64,
    size: u64,
    /// Of the content or of the name: a file moved here may be an old one.
    changed: SystemTime,
}

fn marks(snapshot: &Snapshot) -> Vec<Mark> {
    let config = &snapshot.config;
    let pairs = config.tls.certificates.iter().flat_map(|files| [&files.cert, &files.key]);
    let clients = config.tls.clients.iter().map(|clients| &clients.ca_file);
    let authorities = config.backends.iter().filter_map(|backend| backend.ca_file.as_ref());
    pairs.chain(clients).chain(authorities).map(|path| (path.clone(), mark(path))).collect()
}

fn mark(path: &Path) -> Option<State> {
    let file = fs::metadata(path).ok()?;
    let since = Duration::new(u64::try_from(file.ctime()).ok()?, u32::try_from(file.ctime_nsec()).ok()?);
    Some(State { inode: file.ino(), size: file.size(), changed: UNIX_EPOCH + since })
}
