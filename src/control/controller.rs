//! The single writer: turns commands into snapshots and publishes them, or says why not.
//!
//! Runs as one task on the control thread. What it refuses changes nothing: the last good configuration serves on.
//! A change is published before it is kept, so that no disk holds up a rollback. It must never publish what wasn't
//! compiled whole, nor answer before every worker routes by what it has published, nor wait for one without bound.

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc, oneshot};

use crate::config::Config;
use crate::config::limits::SEEN_WITHIN;
use crate::config::model::{AccessLog, Server};
use crate::control::command::{
    Applied, Asked, Command, Driver, Outcome, Refused, RefusedReason, Source, Steer, Verb,
};
use crate::control::handover::{Upgrades, over};
use crate::control::inbox::Inbox;
use crate::control::journal::{Journal, Kept};
use crate::control::names::resolve_new;
use crate::control::origin::Origin;
use crate::control::overrides::{Overrides, changes};
use crate::control::readiness::of_stable;
use crate::control::record::{Change, Record};
use crate::control::shown::described;
use crate::control::status::{FileText, Statuses};
use crate::control::steering::Standing;
use crate::control::text;
use crate::snapshot::Snapshot;
use crate::snapshot::publish::{Published, Publisher};
use crate::snapshot::registry::{Registry, RegistryError};
use crate::source::file;
use crate::telemetry::events::{ConfigEvent, Event};
use crate::telemetry::metrics::{Metrics, Share};
use crate::telemetry::readings::Readings;

/// The single writer.
pub struct Controller {
    publisher: Publisher,
    registry: Registry,
    pub(super) outlets: Outlets,
    /// What sockets, threads, the access log and the journal were made from at start.
    started_with: (Server, AccessLog, Option<PathBuf>),
    pub(super) file: Option<Arc<FileText>>,
    /// What the file says.
    pub(super) config: Config,
    /// What commands have laid on it.
    pub(super) overrides: Overrides,
    pub(super) history: Arc<VecDeque<Arc<Record>>>,
    pub(super) revision: u64,
    /// The bytes that came last, and what came of them; nothing where the file couldn't be read since.
    seen: Option<(Vec<u8>, Outcome)>,
    /// What the last change waits for before it counts as kept.
    pub(super) keeping: Option<Keeping>,
    /// What comes of an upgrade that was asked for last.
    pub(super) upgrading: Option<oneshot::Receiver<Outcome>>,
    /// Another process has everything.
    is_over: bool,
}

/// What the journal says of a record, once it can.
type Keeping = Pin<Box<dyn Future<Output = Kept> + Send>>;

/// What a Controller begins with.
#[derive(Debug)]
pub struct Beginning {
    /// The configuration.
    pub config: Config,
    /// The file that it is from, and what is in it.
    pub file: Option<(PathBuf, Vec<u8>)>,
    /// The revisions that were kept, the oldest first.
    pub history: VecDeque<Arc<Record>>,
    /// The overrides that were kept.
    pub overrides: Overrides,
    /// What is known of backends and certificates.
    pub registry: Registry,
    /// The live revision of the process before, where this one takes over from it.
    pub follows: Option<u64>,
}

/// Whom a Controller tells of what it does.
#[derive(Debug)]
pub struct Outlets {
    /// Where it counts.
    pub metrics: Metrics,
    /// What is seen of it.
    pub statuses: Statuses,
    /// Where revisions are kept, if anywhere.
    pub journal: Option<Arc<Journal>>,
    /// How backends do.
    pub readings: Readings,
    /// Told when a driver asks for the end of the process.
    pub ending: Arc<Notify>,
    /// Asked when a driver wants another process to take over.
    pub upgrades: Upgrades,
}

impl Controller {
    /// Publishes the first configuration.
    ///
    /// # Errors
    /// When it can't be compiled.
    pub async fn start(beginning: Beginning, outlets: Outlets) -> Result<Self, RegistryError> {
        let Beginning { config, file, history, mut overrides, mut registry, follows } = beginning;
        let started_with = (config.server.clone(), config.access_log.clone(), config.state_dir.clone());
        let revision = history.back().map(|last| last.revision).max(follows).unwrap_or_default() + 1;
        let lifted = overrides.lift_for(&config);
        let snapshot = Arc::new(Snapshot::compile(overrides.laid_on(&config), revision, &mut registry)?);
        resolve_new(Arc::clone(&snapshot)).await;
        let file_text = file.as_ref().map(|(path, bytes)| file_text(path.clone(), bytes));
        let mut this = Self {
            publisher: Publisher::new(Arc::clone(&snapshot)),
            registry,
            outlets,
            started_with,
            file: file_text,
            config,
            overrides,
            history: Arc::new(history),
            revision,
            seen: file.map(|(_, bytes)| (bytes, live(revision))),
            keeping: None,
            upgrading: None,
            is_over: false,
        };
        this.serve_certificates(&snapshot);
        this.count(&snapshot);
        this.outlets.metrics.loaded(SystemTime::now());
        tell_lifted(revision, &lifted);
        this.tell_in_force();
        let way = if follows.is_some() { "upgrade" } else { "start" };
        this.remember(&Origin::of(way, way.to_owned()), Vec::new());
        this.keeping.take().map(tokio::spawn);
        Ok(this)
    }

    /// Told when the health of an endpoint should be looked at.
    pub fn alarm(&self) -> Arc<Notify> {
        Arc::clone(self.registry.alarm())
    }

    /// The reading side, for workers.
    pub fn published(&self) -> Published {
        self.publisher.published()
    }

    /// Carries commands out, one after the other, until nobody can ask any more. Only who asked waits for a disk.
    pub async fn run(mut self, asked: mpsc::Receiver<Asked>) {
        let mut inbox = Inbox::new(asked);
        while let Some(Asked { command, answer }) = inbox.next().await {
            let outcome = self.carry_out(command, &mut inbox).await;
            let (keeping, upgrading) = (self.keeping.take(), self.upgrading.take());
            tokio::spawn(async move {
                let outcome = match (keeping, upgrading) {
                    (_, Some(upgrading)) => upgrading.await.unwrap_or_else(|_| Outcome::Refused(over())),
                    (Some(keeping), None) => kept(outcome, keeping.await),
                    (None, None) => outcome,
                };
                // Who has stopped waiting finds the outcome in the log and the status.
                let _ = answer.send(outcome);
            });
        }
    }

    async fn carry_out(&mut self, command: Command, inbox: &mut Inbox) -> Outcome {
        match command {
            // Whatever changes now is the other process's to see to.
            _ if self.is_over => Outcome::Refused(over()),
            Command::HandOver(handover) => {
                self.is_over = self.hand_over(handover).await;
                self.answer(Vec::new(), Vec::new(), true)
            }
            Command::Load { bytes, source } => {
                if source == Source::File
                    && let Some((_, outcome)) = self.seen.as_ref().filter(|(seen, _)| *seen == bytes)
                {
                    return outcome.clone();
                }
                self.load(bytes, source.into(), false, inbox).await
            }
            Command::Refresh { source } => {
                let config = self.config.clone();
                self.take(config, source.into(), false, inbox).await
            }
            Command::Unreadable { error, source } => {
                self.seen = None;
                self.refuse(source.as_str(), 1, error)
            }
            Command::Steer { steer, driver } => {
                let (name, is_dry) = (steer.verb.name(), steer.dry_run);
                let outcome = self.steer(steer, driver, inbox).await;
                // What comes of an upgrade isn't known yet.
                if !is_dry && self.upgrading.is_none() {
                    self.outlets.metrics.commanded(name, matches!(outcome, Outcome::Live(_)));
                }
                outcome
            }
        }
    }

    async fn load(&mut self, bytes: Vec<u8>, origin: Origin, is_dry: bool, inbox: &mut Inbox) -> Outcome {
        let Some(path) = self.file.as_ref().map(|file| file.path.clone()) else {
            let error = "it was started without a file: there is none to read".to_owned();
            return Outcome::Refused(Refused { error, reason: RefusedReason::Invalid });
        };
        let outcome = match text::read(&bytes, &path.display().to_string()) {
            Ok(config) => self.take(config, origin, is_dry, inbox).await,
            Err(unusable) if is_dry => refused_configuration(unusable.report),
            Err(unusable) => self.refuse(origin.via, unusable.problems, unusable.report),
        };
        if is_dry {
            return outcome;
        }
        if let Outcome::Live(_) = outcome {
            self.file = Some(file_text(path, &bytes));
            self.outlets.statuses.send_modify(|status| status.file.clone_from(&self.file));
        }
        self.seen = Some((bytes, outcome.clone()));
        outcome
    }

    /// Serves by a configuration and what is laid on it.
    async fn take(&mut self, config: Config, origin: Origin, is_dry: bool, inbox: &mut Inbox) -> Outcome {
        let mut overrides = self.overrides.clone();
        let lifted = overrides.lift_for(&config);
        let laid = overrides.laid_on(&config);
        let snapshot = match Snapshot::compile(laid, self.revision + 1, &mut self.registry) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(error) if is_dry => return refused_configuration(format!("error: {error}")),
            Err(error) => return self.refuse(origin.via, 1, format!("error: {error}")),
        };
        let changes = changes(&self.overrides.states(&self.config), &overrides.states(&config));
        if is_dry {
            return self.answer(changes, Vec::new(), true);
        }
        let looking = resolve_new(Arc::clone(&snapshot));
        tokio::select! {
            // It ends by itself, if not now.
            _ = tokio::spawn(looking) => {}
            () = inbox.is_called() => {}
        }
        let waiting = self.tell_what_needs_restart(&config);
        self.serve_certificates(&snapshot);
        self.outlets.metrics.reloaded(SystemTime::now());
        self.outlets.statuses.send_modify(|status| status.refused = None);
        (self.config, self.overrides) = (config, overrides);
        let (source, revision) = (origin.via, snapshot.revision);
        let (routes, backends) = (snapshot.routes.len(), snapshot.backends.len());
        self.count(&snapshot);
        let mut outcome = self.go_live(snapshot, &origin, changes).await;
        Event::from(ConfigEvent::Applied { revision, source, routes, backends }).log();
        tell_lifted(revision, &lifted);
        if let Outcome::Live(applied) = &mut outcome {
            if applied.changes.is_empty() {
                applied.notes.push("it is read anew; no weight and no mode differs from before".to_owned());
            }
            let by_file = |route: &String| format!("{route}: the file says something else now, and wins");
            applied.notes.extend(lifted.iter().map(by_file));
            let later = |setting: &&str| format!("{setting} has changed, and takes a restart");
            applied.notes.extend(waiting.iter().map(later));
        }
        outcome
    }

    async fn steer(&mut self, steer: Steer, driver: Driver, inbox: &mut Inbox) -> Outcome {
        if let Some(wanted) = steer.if_revision.filter(|wanted| *wanted != self.revision) {
            let error = format!("revision {} is live, not {wanted}: look again, then decide", self.revision);
            return Outcome::Refused(Refused { error, reason: RefusedReason::StaleRevision });
        }
        if self.outlets.statuses.borrow().draining && !steer.dry_run {
            return Outcome::Refused(over());
        }
        let route = steer.route.as_deref();
        let standing = Standing {
            file: &self.config,
            overrides: &self.overrides,
            history: &self.history,
            now: since_1970(SystemTime::now()).as_secs(),
        };
        let mut origin = Origin::of_driver(&steer, driver);
        let wanted = match &steer.verb {
            Verb::Shift { backend, to } => standing.shift(route, backend, *to),
            Verb::Rollback => standing.rollback(route),
            Verb::Mode(mode) => standing.mode(route, *mode),
            Verb::Undo { revision } => standing.undo(route, *revision).map(|(overrides, target)| {
                origin.undoes = Some(target);
                overrides
            }),
            Verb::Reload => return self.reload(origin, steer.dry_run, inbox).await,
            Verb::Upgrade => return self.upgrade(steer.dry_run),
            Verb::Drain => return self.drain(steer.dry_run),
        };
        let outcome = match wanted {
            Ok(overrides) => self.lay(overrides, &origin, steer.dry_run).await,
            Err(refused) => Outcome::Refused(refused),
        };
        match outcome {
            Outcome::Live(mut applied) if steer.verb == Verb::Rollback => {
                let routes = Arc::clone(&self.outlets.statuses.borrow().routes);
                let meant = routes.iter().filter(|shown| route.is_none_or(|route| shown.name == route));
                applied.notes.splice(0..0, of_stable(meant, &self.outlets.readings));
                Outcome::Live(applied)
            }
            outcome => outcome,
        }
    }

    /// Serves by the same file and other overrides. Nothing is read for it, so nothing can be in its way.
    async fn lay(&mut self, overrides: Overrides, origin: &Origin, is_dry: bool) -> Outcome {
        let changes = changes(&self.overrides.states(&self.config), &overrides.states(&self.config));
        if is_dry || changes.is_empty() {
            return self.answer(changes, Vec::new(), is_dry);
        }
        let routes = overrides.laid_on(&self.config).routes;
        self.overrides = overrides;
        let snapshot = Arc::new(self.published().current().steered(routes, self.revision + 1));
        // There is no new series, so counting can wait: nothing stands before a rollback.
        let outcome = self.go_live(Arc::clone(&snapshot), origin, changes).await;
        self.count(&snapshot);
        let (revision, actor, command) = (self.revision, &origin.actor, &origin.command);
        let reason = origin.reason.as_deref();
        Event::from(ConfigEvent::Steered { revision, actor, command, reason }).log();
        outcome
    }

    async fn reload(&mut self, origin: Origin, is_dry: bool, inbox: &mut Inbox) -> Outcome {
        let read = self.file.as_ref().map(|file| file::read(&file.path));
        match read {
            Some(Err(error)) => refused_configuration(format!("error: {error}")),
            Some(Ok(bytes)) => self.load(bytes, origin, is_dry, inbox).await,
            None => self.load(Vec::new(), origin, is_dry, inbox).await,
        }
    }

    fn drain(&self, is_dry: bool) -> Outcome {
        if !is_dry {
            self.outlets.ending.notify_one();
        }
        let timeout = self.started_with.0.drain_timeout.as_secs();
        let will = if is_dry { "would finish" } else { "finishes" };
        let note = format!("it {will} what is in flight, for {timeout} s at the most, and ends");
        self.answer(Vec::new(), vec![note], is_dry)
    }

    /// Publishes, waits for the workers, then keeps the record of it.
    pub(super) async fn go_live(
        &mut self,
        snapshot: Arc<Snapshot>,
        origin: &Origin,
        changes: Vec<Change>,
    ) -> Outcome {
        self.revision = snapshot.revision;
        self.publisher.publish(snapshot);
        self.registry.alarm().notify_one();
        let mut notes = Vec::new();
        if !self.publisher.seen(SEEN_WITHIN).await {
            notes.push("a worker is busy: its next request is the first to see the change".to_owned());
        }
        self.remember(origin, changes.clone());
        if self.outlets.journal.is_none() {
            notes.push("it is live, but not kept: there is no `[state] dir`".to_owned());
        }
        Outcome::Live(Applied { revision: self.revision, dry_run: false, changes, notes, kept: false })
    }

    pub(super) fn answer(&self, changes: Vec<Change>, notes: Vec<String>, dry_run: bool) -> Outcome {
        Outcome::Live(Applied { revision: self.revision, dry_run, changes, notes, kept: self.is_kept() })
    }

    /// Whether everything that is live would survive a restart.
    fn is_kept(&self) -> bool {
        self.outlets.journal.as_ref().is_some_and(|journal| journal.trouble().borrow().is_none())
    }

    fn refuse(&self, source: &str, problems: usize, report: String) -> Outcome {
        self.outlets.metrics.reload_failed();
        let revision = self.revision;
        Event::from(ConfigEvent::Refused { revision, source, problems, report: &report }).log();
        self.outlets.statuses.send_modify(|status| status.refused = Some(report.clone()));
        refused_configuration(report)
    }

    fn serve_certificates(&self, snapshot: &Snapshot) {
        self.registry.store().configure(&snapshot.certificates, snapshot.config.tls.unknown_name);
        self.outlets.metrics.certificates(&self.registry.store().expiries());
    }

    /// Brings the series in line with what is, or is about to be, published.
    pub(super) fn count(&self, snapshot: &Snapshot) {
        let shares: Vec<Share<'_>> = snapshot.shares().collect();
        self.outlets.metrics.reconcile(&shares);
        self.outlets.metrics.loads(snapshot.loads().collect());
        self.outlets.metrics.revision(snapshot.revision);
        self.outlets.metrics.overridden(self.overrides.since());
    }

    /// Says for each route that a restart found overridden what it does instead of what the file says.
    fn tell_in_force(&self) {
        let (file, live) = (Overrides::default().states(&self.config), self.overrides.states(&self.config));
        for change in changes(&file, &live) {
            let how = change.to.as_ref().map(described).unwrap_or_default();
            Event::from(ConfigEvent::InForce { route: &change.route, how: &how }).log();
        }
    }

    /// Says which settings have changed that take a restart.
    fn tell_what_needs_restart(&self, config: &Config) -> Vec<&'static str> {
        let (server, access_log, state_dir) = &self.started_with;
        let settings = [
            ("server.http", server.http == config.server.http && server.unix == config.server.unix),
            ("server.https", server.https == config.server.https),
            ("server.proxy_protocol", server.proxy_protocol == config.server.proxy_protocol),
            ("server.metrics", server.metrics == config.server.metrics),
            ("server.admin", server.admin == config.server.admin),
            ("server.workers", server.workers == config.server.workers),
            ("server.drain_timeout", server.drain_timeout == config.server.drain_timeout),
            ("state.dir", *state_dir == config.state_dir),
            ("access_log", *access_log == config.access_log),
        ];
        let changed: Vec<_> =
            settings.into_iter().filter(|(_, same)| !same).map(|(setting, _)| setting).collect();
        changed.iter().for_each(|setting| Event::from(ConfigEvent::NeedsRestart { setting }).log());
        changed
    }
}

/// The outcome of a change, with what the journal says of it.
fn kept(outcome: Outcome, kept: Kept) -> Outcome {
    match (outcome, kept) {
        (Outcome::Live(applied), Kept::Yes) => Outcome::Live(Applied { kept: true, ..applied }),
        (Outcome::Live(mut applied), Kept::NotYet(reason)) => {
            applied.notes.push(format!("it is live, but not kept: a restart would forget it: {reason}"));
            Outcome::Live(applied)
        }
        (refused @ Outcome::Refused(_), _) => refused,
    }
}

fn live(revision: u64) -> Outcome {
    let (changes, notes) = (Vec::new(), Vec::new());
    Outcome::Live(Applied { revision, dry_run: false, changes, notes, kept: true })
}

fn refused_configuration(error: String) -> Outcome {
    Outcome::Refused(Refused { error, reason: RefusedReason::Configuration })
}

/// Text that was taken is UTF-8.
fn file_text(path: PathBuf, bytes: &[u8]) -> Arc<FileText> {
    Arc::new(FileText { path, text: String::from_utf8_lossy(bytes).into_owned() })
}

fn tell_lifted(revision: u64, routes: &[String]) {
    for route in routes {
        Event::from(ConfigEvent::Lifted { revision, route }).log();
    }
}

fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
