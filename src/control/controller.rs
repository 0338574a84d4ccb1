//! The single writer: turns commands into snapshots and publishes them, or says why not.
//!
//! Runs as one task on the control thread. What it refuses changes nothing: the last good configuration
//! serves on. It must never publish what wasn't compiled whole, nor wait for a worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::limits::{DNS_FIRST, DNS_REFRESH, DNS_RETRY};
use crate::config::model::{AccessLog, Server};
use crate::config::{self, Config, Problem};
use crate::control::command::{Applied, Asked, Command, Outcome, Refused, RefusedReason, Source};
use crate::control::status::Statuses;
use crate::snapshot::Snapshot;
use crate::snapshot::publish::{Published, Publisher};
use crate::snapshot::registry::{Registry, RegistryError};
use crate::telemetry::events::{ConfigEvent, Event};
use crate::telemetry::metrics::{Metrics, Share};
use crate::tls::store::Store;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::resolve::{LookupError, refresh_all};

/// The single writer.
#[derive(Debug)]
pub struct Controller {
    publisher: Publisher,
    registry: Registry,
    metrics: Metrics,
    statuses: Statuses,
    /// What sockets, threads and the access log were made from at start.
    started_with: (Server, AccessLog),
    file: PathBuf,
    revision: u64,
    /// The bytes that came last, and what came of them; nothing where the file couldn't be read since.
    seen: Option<(Vec<u8>, Outcome)>,
}

impl Controller {
    /// Publishes the first configuration. `file` is where it came from, `bytes` what was in it.
    ///
    /// # Errors
    /// When it can't be compiled.
    pub async fn start(
        config: Config,
        file: PathBuf,
        bytes: Vec<u8>,
        metrics: Metrics,
        statuses: Statuses,
        store: Store,
    ) -> Result<Self, RegistryError> {
        let mut registry = Registry::new(store);
        let started_with = (config.server.clone(), config.access_log.clone());
        let snapshot = Arc::new(Snapshot::compile(config, 1, &mut registry)?);
        resolve_new(&snapshot).await;
        registry.store().configure(&snapshot.certificates, snapshot.config.tls.unknown_name);
        metrics.certificates(&registry.store().expiries());
        reconcile(&metrics, &snapshot);
        metrics.loaded(SystemTime::now());
        statuses.send_modify(|status| status.revision = 1);
        let publisher = Publisher::new(snapshot);
        Ok(Self {
            publisher,
            registry,
            metrics,
            statuses,
            started_with,
            file,
            revision: 1,
            seen: Some((bytes, live(1))),
        })
    }

    /// The reading side, for workers.
    pub fn published(&self) -> Published {
        self.publisher.published()
    }

    /// Carries commands out, one after the other, until nobody can ask any more.
    pub async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        while let Some(Asked { command, answer }) = asked.recv().await {
            let outcome = self.carry_out(command).await;
            // Who has stopped waiting finds the outcome in the log and the status.
            let _ = answer.send(outcome);
        }
    }

    async fn carry_out(&mut self, command: Command) -> Outcome {
        match command {
            Command::Load { bytes, source } => {
                if source == Source::File
                    && let Some((_, outcome)) = self.seen.as_ref().filter(|(seen, _)| *seen == bytes)
                {
                    return outcome.clone();
                }
                let outcome = self.load(&bytes, source).await;
                self.seen = Some((bytes, outcome.clone()));
                outcome
            }
            Command::Refresh { source } => {
                let config = self.publisher.published().current().config.clone();
                self.take(config, source).await
            }
            Command::Steer { .. } => {
                Outcome::Refused(Refused { error: "not yet".to_owned(), reason: RefusedReason::Invalid })
            }
            Command::Unreadable { error, source } => {
                self.seen = None;
                self.refuse(source, 1, error)
            }
        }
    }

    async fn load(&mut self, bytes: &[u8], source: Source) -> Outcome {
        let shown = self.file.display().to_string();
        let loaded = match read(bytes, &shown) {
            Ok(loaded) => loaded,
            Err(unusable) => return self.refuse(source, unusable.problems, unusable.report),
        };
        self.take(loaded, source).await
    }

    async fn take(&mut self, config: Config, source: Source) -> Outcome {
        let snapshot = match Snapshot::compile(config, self.revision + 1, &mut self.registry) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(error) => return self.refuse(source, 1, format!("error: {error}")),
        };
        resolve_new(&snapshot).await;
        self.revision += 1;
        self.publish(snapshot, source);
        live(self.revision)
    }

    fn publish(&self, snapshot: Arc<Snapshot>, source: Source) {
        self.tell_what_needs_restart(&snapshot.config);
        self.registry.store().configure(&snapshot.certificates, snapshot.config.tls.unknown_name);
        self.metrics.certificates(&self.registry.store().expiries());
        reconcile(&self.metrics, &snapshot);
        let (routes, backends) = (snapshot.routes.len(), snapshot.backends.len());
        self.publisher.publish(snapshot);
        self.metrics.reloaded(SystemTime::now());
        self.statuses.send_modify(|status| {
            status.revision = self.revision;
            status.refused = None;
        });
        let (revision, source) = (self.revision, source.as_str());
        Event::from(ConfigEvent::Applied { revision, source, routes, backends }).log();
    }

    fn refuse(&self, source: Source, problems: usize, report: String) -> Outcome {
        self.metrics.reload_failed();
        let (revision, source) = (self.revision, source.as_str());
        Event::from(ConfigEvent::Refused { revision, source, problems, report: &report }).log();
        self.statuses.send_modify(|status| status.refused = Some(report.clone()));
        Outcome::Refused(Refused { error: report, reason: RefusedReason::Configuration })
    }

    fn tell_what_needs_restart(&self, config: &Config) {
        let (server, access_log) = &self.started_with;
        for (setting, same) in [
            ("server.http", server.http == config.server.http && server.unix == config.server.unix),
            ("server.https", server.https == config.server.https),
            ("server.proxy_protocol", server.proxy_protocol == config.server.proxy_protocol),
            ("server.metrics", server.metrics == config.server.metrics),
            ("server.workers", server.workers == config.server.workers),
            ("server.drain_timeout", server.drain_timeout == config.server.drain_timeout),
            ("access_log", *access_log == config.access_log),
        ] {
            if !same {
                Event::from(ConfigEvent::NeedsRestart { setting }).log();
            }
        }
    }
}

fn live(revision: u64) -> Outcome {
    let (changes, notes) = (Vec::new(), Vec::new());
    Outcome::Live(Applied { revision, dry_run: false, changes, notes, kept: false })
}

/// A text that can't be served by.
#[derive(Debug)]
pub struct Unusable {
    /// Everything that is wrong with it, as shown to its author.
    pub report: String,
    /// How many problems.
    pub problems: usize,
}

/// Reads a configuration file's bytes; warnings go to the log.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(bytes: &[u8], file: &str) -> Result<Config, Unusable> {
    let text = std::str::from_utf8(bytes).map_err(|error| Unusable {
        report: format!("error: {file} isn't UTF-8 at byte {}; save it as UTF-8", error.valid_up_to()),
        problems: 1,
    })?;
    match config::load(text, &|name| std::env::var(name).ok()) {
        Ok(loaded) => {
            warn_of(&loaded.warnings, file);
            Ok(loaded.config)
        }
        Err(problems) => {
            let count = problems.0.len();
            Err(Unusable { report: problems.render(file, text, false), problems: count })
        }
    }
}

fn warn_of(warnings: &[Problem], file: &str) {
    for warning in warnings {
        tracing::warn!(
            event = "config.warning",
            "{file}:{}: {}; {}",
            warning.line,
            warning.message,
            warning.remedy
        );
    }
}

fn reconcile(metrics: &Metrics, snapshot: &Snapshot) {
    let shares: Vec<Share<'_>> = snapshot
        .shares()
        .map(|(route, backend, weight_ratio)| Share {
            route: route.as_str(),
            backend: backend.as_str(),
            weight_ratio,
        })
        .collect();
    metrics.reconcile(&shares);
    metrics.revision(snapshot.revision);
}

/// Looks new names up, for a bounded time: a new backend should be ready when it is live, and one that can't be
/// resolved must not hold back the others. Nor may it hold back a rollback: names that failed before are left to
/// [`keep_addresses_fresh`].
async fn resolve_new(snapshot: &Snapshot) {
    let new: Vec<Arc<Endpoint>> =
        snapshot.endpoints().filter(|endpoint| endpoint.is_new()).cloned().collect();
    tell_of_lookups(snapshot, refresh_all(&new, DNS_FIRST).await);
}

/// Keeps the addresses of all names fresh, for ever; names without any are asked for more often.
pub async fn keep_addresses_fresh(published: Published) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(DNS_RETRY).await;
        let all = last.elapsed() >= DNS_REFRESH;
        if all {
            last = Instant::now();
        }
        let snapshot = published.current();
        let due = snapshot.endpoints().filter(|endpoint| all || endpoint.is_unresolved());
        let due: Vec<Arc<Endpoint>> = due.cloned().collect();
        tell_of_lookups(&snapshot, refresh_all(&due, DNS_REFRESH).await);
    }
}

fn tell_of_lookups(snapshot: &Snapshot, outcomes: Vec<(Arc<Endpoint>, Result<bool, LookupError>)>) {
    for (endpoint, outcome) in outcomes {
        let (backend, host) = (backend_of(snapshot, &endpoint), endpoint.url.host().unwrap_or_default());
        let news = endpoint.looked_up(outcome.is_ok());
        match outcome {
            // Told once, not with each lookup.
            Err(_) if !news => {}
            Ok(false) => {}
            Ok(true) => {
                let addresses: Vec<_> = endpoint.addresses().iter().map(std::net::SocketAddr::ip).collect();
                Event::from(ConfigEvent::Addresses { backend, host, addresses: &addresses }).log();
            }
            Err(error) => Event::from(ConfigEvent::LookupFailed { backend, host, error: &error }).log(),
        }
    }
}

fn backend_of<'a>(snapshot: &'a Snapshot, endpoint: &Arc<Endpoint>) -> &'a str {
    let holds =
        |backend: &crate::snapshot::Backend| backend.endpoints.iter().any(|e| Arc::ptr_eq(e, endpoint));
    let at = snapshot.backends.iter().position(holds);
    at.map_or("", |at| snapshot.config.backends[at].name.as_str())
}
