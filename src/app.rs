//! The composition root: open → compile → serve → wait → drain.
//!
//! `cli::run` and `cli::demo` call it with a configuration. Everything that can fail fails before the first
//! visitor is served. Nothing imports it but the command line.

mod arrival;
mod descriptors;
mod doors;
mod running;
mod signals;
mod state;
mod upgrading;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};

use crate::admin::{AdminSocket, Api, GateKeeper, TokenError, TokenFault};
use crate::app::arrival::Arrival;
use crate::app::doors::{SocketDoor, Sockets};
use crate::app::running::Running;
use crate::app::signals::Signals;
use crate::app::state::Kept;
use crate::app::upgrading::Upgrading;
use crate::config::TOKEN_VARIABLE;
use crate::config::model::{Config, Server};
use crate::control;
use crate::control::adapting::adapt_bounds;
use crate::control::command::{Asked, Commands};
use crate::control::controller::{Beginning, Controller};
use crate::control::handover::{Upgrades, Wanted};
use crate::control::journal::Journal;
use crate::control::names::keep_addresses_fresh;
use crate::control::status::{Status, Statuses, Watching};
use crate::health;
use crate::memory::{self, Pressure};
use crate::proxy::error::{Failure, REJECTIONS};
use crate::proxy::retry;
use crate::server::balance::Balance;
use crate::server::drain::{Drain, Draining};
use crate::server::listener::BindError;
use crate::server::worker::{self, Seed};
use crate::snapshot::publish::Published;
use crate::snapshot::registry::{Registry, RegistryError};
use crate::source::certificates;
use crate::source::watch::{Hangup, watch as watch_file};
use crate::telemetry::access_log::{AccessLog, OpenError};
use crate::telemetry::events::Event;
use crate::telemetry::metrics::{Metrics, Reasons};
use crate::telemetry::readings::Readings;
use crate::tls::acme::renewal::{self, Outlets};
use crate::tls::store::Store;
use crate::upgrade::predecessor::Predecessor;
use crate::upgrade::program::Program;

/// What to serve by.
#[derive(Debug)]
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// The file it came from, and what was in it: watched from now on. Nothing for a quick start.
    pub file: Option<(PathBuf, Vec<u8>)>,
    /// How one process follows another.
    pub succession: Succession,
}

/// How one process follows another.
#[derive(Debug)]
pub enum Succession {
    /// None does: it isn't a program of its own.
    None,
    /// By this program.
    By {
        /// What another process is started by.
        program: Program,
        /// The process that this one is to take over from.
        predecessor: Option<Predecessor>,
    },
}

impl Succession {
    fn into_parts(self) -> (Option<Program>, Option<Predecessor>) {
        match self {
            Self::None => (None, None),
            Self::By { program, predecessor } => (Some(program), predecessor),
        }
    }
}

/// The addresses that are listened on, ports filled in.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Visitors' listeners in the clear.
    pub http: Vec<SocketAddr>,
    /// Those of TLS.
    pub https: Vec<SocketAddr>,
    /// Metrics and health.
    pub metrics: Option<SocketAddr>,
    /// Dashboard and admin API.
    pub admin: Option<SocketAddr>,
}

/// Serves until SIGTERM or SIGINT, then drains. `ready` is told the addresses once visitors are served.
///
/// # Errors
/// When it can't start; nothing has been served then.
pub fn run(start: Start, ready: impl FnOnce(Bound)) -> Result<(), StartError> {
    let end = || Ok(told_to_end(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    run_until(start, ready, end)
}

/// Serves until what `end` makes has come, then drains; otherwise as [`run`]. It is made before anybody is told that
/// we listen: who reads that may signal at once.
///
/// # Errors
/// When it can't start; nothing has been served then.
pub fn run_until<E: Future<Output = ()>>(
    start: Start,
    ready: impl FnOnce(Bound),
    end: impl FnOnce() -> io::Result<E>,
) -> Result<(), StartError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Machine)?;
    // Probes speak by the same connections as workers, which stay on their thread.
    let outcome = LocalSet::new().block_on(&runtime, serve(start, ready, end));
    // A lookup that hangs in the system's resolver must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

async fn serve<E: Future<Output = ()>>(
    start: Start,
    ready: impl FnOnce(Bound),
    told_to_end: impl FnOnce() -> io::Result<E>,
) -> Result<(), StartError> {
    // First of all: a signal that comes before its handler ends the process.
    let told_to_end = told_to_end().map_err(StartError::Machine)?;
    let signals = Signals::listen(&start.succession).map_err(StartError::Machine)?;
    let (running, bound) = begin(start, signals).await?;
    ready(bound);
    running.until(told_to_end).await;
    Ok(())
}

/// Opens, compiles, and serves. Where another process is taken over from, that lets go in the middle of it: nobody is
/// served before, and little can fail after.
async fn begin(start: Start, mut signals: Signals) -> Result<(Running, Bound), StartError> {
    let Start { config, file, succession } = start;
    let (program, predecessor) = succession.into_parts();
    let (server, state_dir) = (config.server.clone(), config.state_dir.clone());
    let mut arrival = Arrival::begin(predecessor).await?;
    descriptors::raise();
    let sockets = Sockets::open(&server, &mut arrival.inherited)?;
    let passed = sockets.for_successor()?;
    let ready = Ready::to_serve(config, file.clone(), &mut arrival).await?;
    let Ready { controller, metrics, access_log, statuses, store, journal, readings, ending, wanted, behind } =
        ready;
    let (published, status) = (controller.published(), statuses.subscribe());
    watch_health(&controller, &metrics, &statuses);

    let (drain, draining) = Drain::new();
    let memory = watch_memory(&published, &metrics);
    let shared =
        Shared { published: &published, store: &store, metrics: &metrics, access_log: &access_log, memory };
    let workers = start_workers(&server, &sockets, &draining, &shared)?;
    keep_certificates(Outlets { store, metrics: metrics.clone() }, published.clone(), status.clone());
    tokio::spawn(adapt_bounds(published.clone()));
    let (commands, asked) = Commands::new();
    let (gate, gated) = GateKeeper::new();
    let api = Api::new(commands.clone(), status.clone(), readings, env!("CARGO_PKG_VERSION"), gated.clone());
    let (now, admin_socket) = watch::channel(None);
    // Before anybody is told that we listen: who reads that may steer at once.
    if let Some(dir) = state_dir {
        let inherited = arrival.inherited.admin_socket(&AdminSocket::path_in(&dir));
        SocketDoor { dir, inherited, now, gate: gated.clone() }.serve(api.clone(), status.clone()).await;
    }
    let bound = sockets.tell(metrics.clone(), status.clone(), api, gated).await;
    let revision = status.borrow().revision;
    Event::Started { version: env!("CARGO_PKG_VERSION"), workers: workers.len(), revision }.log();
    signals.begin(arrival.follows(), &commands);
    let behind = arrival.serving(revision, &metrics, behind).await;
    let upgrading = program.map(|program| Upgrading {
        program,
        sockets: passed,
        admin_socket,
        commands: commands.clone(),
        gate,
        metrics,
        statuses: statuses.clone(),
        behind,
        notifier: signals.notifier.clone(),
        drain_timeout: server.drain_timeout,
        wanted,
    });
    let (notifier, keep_alive) = (signals.notifier.clone(), published.current().config.timeouts.keep_alive);
    control(controller, (commands, asked), published, file, signals, &access_log, &statuses);
    let workers = (drain, workers);
    let running =
        Running { server, keep_alive, workers, journal, access_log, statuses, ending, upgrading, notifier };
    Ok((running, bound))
}

/// What is there before anybody is served.
struct Ready {
    controller: Controller,
    metrics: Metrics,
    access_log: AccessLog,
    statuses: Statuses,
    store: Store,
    journal: Option<Arc<Journal>>,
    readings: Readings,
    ending: Arc<Notify>,
    wanted: mpsc::Receiver<Wanted>,
    behind: u32,
}

impl Ready {
    /// Compiles, and waits for the process before to let go, where there is one.
    async fn to_serve(
        config: Config,
        file: Option<(PathBuf, Vec<u8>)>,
        arrival: &mut Arrival,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), reasons());
        let access_log = AccessLog::open(config.access_log.target.as_ref(), &metrics)?;
        let statuses = watch::Sender::new(Status::default());
        let store = Store::default();
        let mut registry = Registry::new(store.clone());
        let before = arrival.go(&config, &mut registry).await?;
        let (follows, behind) = before.as_ref().map_or((None, 0), |go| (Some(go.revision), go.behind));

        let Kept { journal, history, overrides } = Kept::of(config.state_dir.as_deref(), before, &metrics);
        let (readings, sampler) = Readings::new(metrics.clone());
        let beginning = Beginning { config, file, history, overrides, registry, follows };
        let (ending, (upgrades, wanted)) = (Arc::new(Notify::new()), Upgrades::new());
        let outlets = control::controller::Outlets {
            metrics: metrics.clone(),
            statuses: statuses.clone(),
            journal: journal.clone(),
            readings: readings.clone(),
            ending: Arc::clone(&ending),
            upgrades,
        };
        tokio::spawn(sampler.run());
        tokio::spawn(state::tell(journal.clone(), statuses.clone(), metrics.clone()));
        let controller = Controller::start(beginning, outlets).await?;
        Ok(Self {
            controller,
            metrics,
            access_log,
            statuses,
            store,
            journal,
            readings,
            ending,
            wanted,
            behind,
        })
    }
}

/// Starts the look at memory; workers hear of it by what this returns.
fn watch_memory(published: &Published, metrics: &Metrics) -> Pressure {
    let (telling, pressure) = Pressure::new();
    tokio::spawn(memory::watch::watch(published.clone(), telling, metrics.clone()));
    pressure
}

/// What workers have in common.
struct Shared<'a> {
    published: &'a Published,
    store: &'a Store,
    metrics: &'a Metrics,
    access_log: &'a AccessLog,
    memory: Pressure,
}

/// As many as the configuration says, else one for each core.
fn start_workers(
    server: &Server,
    sockets: &Sockets,
    draining: &Draining,
    shared: &Shared<'_>,
) -> Result<Vec<thread::JoinHandle<usize>>, StartError> {
    let count = server.workers.or(thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let room = descriptors::for_visitors(count, sockets.count());
    let connections = shared.published.current().config.limits.connections;
    if room < connections {
        let limit = descriptors::limit();
        Event::FewDescriptors { limit, wanted: connections, visitors: room }.log();
    }
    let (balance, handed) = Balance::among(count, room);
    let seed = |(index, handed): (usize, _)| {
        Ok(Seed {
            index,
            workers: count,
            listeners: sockets.duplicates()?,
            balance: balance.clone(),
            handed,
            published: shared.published.clone(),
            attendance: shared.published.attend(),
            challenges: shared.store.challenges().clone(),
            metrics: shared.metrics.clone(),
            sink: shared.access_log.sink(),
            memory: shared.memory.clone(),
            draining: draining.clone(),
        })
    };
    let seeds = handed.into_iter().enumerate().map(seed).collect::<Result<Vec<_>, StartError>>()?;
    seeds.into_iter().map(worker::start).collect::<io::Result<_>>().map_err(StartError::Machine)
}

/// The reasons that metrics know from the start.
fn reasons() -> Reasons {
    Reasons { failures: &Failure::REASONS, retries: &retry::REASONS, rejections: &REJECTIONS }
}

/// Starts what orders certificates, and tells it with each revision what is wanted.
fn keep_certificates(outlets: Outlets, published: Published, mut status: Watching) {
    let (wanted, wants) = watch::channel(published.current().config.acme.clone());
    let keeping = tokio::spawn(renewal::keep(wants, outlets));
    tokio::spawn(async move {
        let _ = keeping.await;
        Event::TaskEnded { name: "the renewal of certificates" }.log();
    });
    tokio::spawn(async move {
        while status.changed().await.is_ok() {
            let acme = published.current().config.acme.clone();
            wanted.send_if_modified(|before| {
                let differs = *before != acme;
                *before = acme;
                differs
            });
        }
    });
}

/// Starts what watches the health of backends.
fn watch_health(controller: &Controller, metrics: &Metrics, statuses: &Statuses) {
    let (metrics, statuses, alarm) = (metrics.clone(), statuses.clone(), controller.alarm());
    let outlets = health::watch::Outlets { metrics, statuses, alarm };
    let watching = tokio::task::spawn_local(health::watch::watch(controller.published(), outlets));
    tokio::task::spawn_local(async move {
        let _ = watching.await;
        Event::TaskEnded { name: "the watch on the backends' health" }.log();
    });
}

/// Starts what changes and refreshes the configuration.
fn control(
    controller: Controller,
    (commands, asked): (Commands, mpsc::Receiver<Asked>),
    published: Published,
    file: Option<(PathBuf, Vec<u8>)>,
    signals: Signals,
    access_log: &AccessLog,
    statuses: &Statuses,
) {
    // Whoever is served goes on being served without them; whoever steers has to know.
    let keep = |name: &'static str, task: JoinHandle<()>| {
        let statuses = statuses.clone();
        tokio::spawn(async move {
            let _ = task.await;
            Event::TaskEnded { name }.log();
            let report = format!("error: {name} has ended: no change is taken any more; restart crossfade");
            statuses.send_modify(|status| status.refused = Some(report));
        });
    };
    keep("the controller", tokio::spawn(controller.run(asked)));
    keep("the lookup of names", tokio::spawn(keep_addresses_fresh(published.clone())));
    keep("the watch on certificates", tokio::spawn(certificates::watch(published, commands.clone())));
    let (reopener, Signals { hangup, notifier, .. }) = (access_log.sink(), signals);
    let hung_up = move |step| match step {
        Hangup::Heard => {
            notifier.reloading();
            reopener.reopen();
        }
        Hangup::Done => notifier.ready("serving"),
    };
    match file {
        Some((path, loaded)) => {
            let watching = watch_file(path, loaded, commands, hangup, hung_up);
            keep("the watch on the configuration", tokio::spawn(watching));
        }
        None => keep("the wait for SIGHUP", tokio::spawn(reopen_on_hangup(commands, hangup, hung_up))),
    }
}

/// Without a file, SIGHUP still rotates logs; by itself it would end the process. The Controller lives as long as
/// somebody could command it.
async fn reopen_on_hangup(_commands: Commands, mut hangup: Signal, hung_up: impl Fn(Hangup)) {
    while hangup.recv().await.is_some() {
        hung_up(Hangup::Heard);
        hung_up(Hangup::Done);
    }
}

async fn told_to_end(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Who asks twice means now.
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
}

/// Why serving can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The access log.
    #[error(transparent)]
    AccessLog(#[from] OpenError),
    /// A backend.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The file of the admin API's token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token in the environment.
    #[error("{TOKEN_VARIABLE} in the environment: {0}")]
    Environment(#[source] TokenFault),
    /// The process before.
    #[error("the process that started this one to take over from it has thought better of it: {0}")]
    Handoff(#[source] io::Error),
    /// No thread, descriptor or signal handler to be had.
    #[error("this machine gives no thread or descriptor: {0}; raise its limits")]
    Machine(#[source] io::Error),
}
