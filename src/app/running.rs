//! A process that serves, until it has ended: by a signal, by a command, or because another serves in its place.
//!
//! `app` makes one once everything is open. It must never end before what is in flight has, or its time is up.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::app::state;
use crate::app::upgrading::{Replaced, Upgrading};
use crate::config::model::Server;
use crate::control::journal::Journal;
use crate::control::status::Statuses;
use crate::server::drain::{Drain, Pace};
use crate::telemetry::access_log::{AccessLog, Closed};
use crate::telemetry::events::{AccessLogEvent, Event};
use crate::upgrade::message::Place;
use crate::upgrade::notify::Notifier;

/// What has to come to an end.
pub(super) struct Running {
    pub(super) server: Server,
    /// How long an idle connection may stay, drain or no drain.
    pub(super) keep_alive: Duration,
    pub(super) workers: (Drain, Vec<JoinHandle<usize>>),
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) access_log: AccessLog,
    pub(super) statuses: Statuses,
    /// Told when a driver asks for the end.
    pub(super) ending: Arc<Notify>,
    /// What has another process serve, where there is to be one.
    pub(super) upgrading: Option<Upgrading>,
    pub(super) notifier: Notifier,
}

/// Why it ends.
enum End {
    Told,
    Commanded,
    Replaced(Box<Replaced>),
}

impl Running {
    /// Serves until the end, and through it. What ends it twice ends it at once.
    pub(super) async fn until(self, told_to_end: impl Future<Output = ()>) {
        let Self { server, keep_alive, workers, journal, access_log, statuses, ending, upgrading, notifier } =
            self;
        let (drain, workers) = workers;
        let mut told = pin!(told_to_end);
        let replaced = async {
            match upgrading {
                Some(upgrading) => upgrading.run().await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            () = &mut told => End::Told,
            () = ending.notified() => End::Commanded,
            replaced = replaced => End::Replaced(Box::new(replaced)),
        };
        // Before the journal goes to whoever comes after us: nobody's change may be live here and forgotten there.
        statuses.send_modify(|status| status.draining = true);
        journal.iter().for_each(|journal| journal.release());
        match end {
            End::Told | End::Commanded => {
                notifier.stopping();
                let pace = Pace::swift(server.drain_timeout);
                let paths = server.unix.clone();
                tokio::select! {
                    () = finish(&drain, &server, pace, workers, paths, std::future::pending()) => {}
                    // Who asks twice means now.
                    () = told, if matches!(end, End::Commanded) => std::process::exit(1),
                }
            }
            End::Replaced(mut replaced) => {
                let pace = Pace::gentle(server.drain_timeout, keep_alive);
                let paths = left_behind(&server, &replaced.adopted);
                tokio::select! {
                    () = finish(&drain, &server, pace, workers, paths, told) => {}
                    () = replaced.keep_telling() => {}
                }
                replaced.end(server.drain_timeout).await;
            }
        }
        journal.iter().for_each(|journal| state::close(journal));
        if access_log.close() == Closed::GaveUp {
            Event::from(AccessLogEvent::GaveUp).log();
        }
        Event::Stopped { code: 0 }.log();
    }
}

/// The paths of visitors' sockets that nobody goes on with.
fn left_behind(server: &Server, adopted: &[Place]) -> Vec<PathBuf> {
    let goes_on = |path: &PathBuf| {
        adopted.iter().any(|place| matches!(place, Place::Unix { path: at, .. } if at == path))
    };
    server.unix.iter().filter(|path| !goes_on(path)).cloned().collect()
}

/// Drains the workers, then removes the `paths`.
async fn finish(
    drain: &Drain,
    server: &Server,
    pace: Pace,
    workers: Vec<JoinHandle<usize>>,
    paths: Vec<PathBuf>,
    hurried: impl Future<Output = ()>,
) {
    let began = Instant::now();
    Event::DrainStarted { timeout: server.drain_timeout }.log();
    let (told, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // A worker has no panic of its own that isn't a connection's; one that died has nothing left to cut.
        let cut = workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum::<usize>();
        let _ = told.send(cut);
    });
    let mut cut = 0;
    let mut ended = pin!(ended);
    let finished = async { cut = ended.as_mut().await.unwrap_or(0) };
    let whole = drain.run(server.drain_timeout, pace, hurried, finished).await;
    if !whole {
        cut = ended.await.unwrap_or(0);
    }
    for path in &paths {
        // One that somebody else removed is gone already.
        let _ = std::fs::remove_file(path);
    }
    Event::DrainEnded { took: began.elapsed(), cut }.log();
}
