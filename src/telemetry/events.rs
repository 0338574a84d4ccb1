//! What happens to the process as a whole, told in one place: an [`Event`] each, with a fixed name and typed
//! fields.
//!
//! The control thread, the workers' edges (accepting, draining) and the access log's writer tell them; `cli`
//! calls [`init`] before anything else. They go over a [`queue`] to a thread of its own, so that a standard error
//! that stands still stops nobody. Nothing on the path of a request tells any but for debugging: what happens to
//! one request is its access record's.

use std::fmt::Display;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, error, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

pub use crate::telemetry::health_events::HealthEvent;
use crate::telemetry::queue::{self, Queue};
use crate::telemetry::upgrade_events::UpgradeEvent;

/// Something that changed. Its name in the log is the field `event`.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the fields are the log's own, and named for it")]
pub enum Event<'a> {
    /// The process serves.
    Started { version: &'a str, workers: usize, revision: u64 },
    /// The process ends, with this exit code.
    Stopped { code: u8 },
    /// A socket listens. `purpose` is what it is for: `http`, `https`, `unix`,
    /// `metrics`.
    ListenerBound { purpose: &'a str, place: &'a dyn Display },
    /// The machine gives fewer descriptors than the configured connections take.
    FewDescriptors { limit: usize, wanted: usize, visitors: usize },
    /// A connection couldn't be accepted; the listener goes on after a pause.
    AcceptFailed { listener: &'a str, error: &'a dyn Display },
    /// No new connections; what is in flight has this long to finish.
    DrainStarted { timeout: Duration },
    /// Everything has finished, or was cut off: so many connections.
    DrainEnded { took: Duration, cut: usize },
    /// A part of the control thread has ended, which is a defect; visitors are served on.
    TaskEnded { name: &'a str },
    /// A panic ended one connection.
    Panicked { worker: usize, message: &'a dyn Display },
    /// Memory is as scarce as this now.
    Memory { level: &'a str, used: u64, limit: u64 },
    /// As many connections as may come at once don't fit into memory; so many do.
    MemoryRoom { connections: usize, fit: usize, limit: u64 },
    /// Somebody tried the admin API with a wrong token.
    WrongToken { peer: IpAddr },
    /// See [`ConfigEvent`].
    Config(ConfigEvent<'a>),
    /// See [`AccessLogEvent`].
    AccessLog(AccessLogEvent<'a>),
    /// See [`AcmeEvent`].
    Acme(AcmeEvent<'a>),
    /// See [`StateEvent`].
    State(StateEvent<'a>),
    /// See [`HealthEvent`].
    Health(HealthEvent<'a>),
    /// See [`UpgradeEvent`].
    Upgrade(UpgradeEvent<'a>),
}

impl Event<'_> {
    /// Tells it.
    pub fn log(self) {
        match self {
            Event::Started { version, workers, revision } => {
                info!(event = "started", version, workers, revision, "serving");
            }
            Event::Stopped { code } => info!(event = "stopped", code, "stopped"),
            Event::ListenerBound { purpose, place } => {
                // The wording is a contract: scripts that start us with port 0 read the address from it.
                let (scheme, aside) = match purpose {
                    "http" | "https" => (purpose, String::new()),
                    "unix" => return info!(event = "listener.bound", "listening on {place}"),
                    other => ("http", format!(" ({other})")),
                };
                info!(event = "listener.bound", "listening on {scheme}://{place}{aside}");
            }
            Event::FewDescriptors { limit, wanted, visitors } => {
                let remedy = "raise `ulimit -n`, or LimitNOFILE of the unit";
                warn!(
                    event = "descriptors.few",
                    limit, wanted, visitors, remedy, "fewer connections than configured"
                );
            }
            Event::AcceptFailed { listener, error } => {
                warn!(event = "listener.accept-failed", listener, %error, "a connection couldn't be accepted");
            }
            Event::DrainStarted { timeout } => {
                info!(
                    event = "drain.started",
                    timeout_s = timeout.as_secs_f64(),
                    "finishing what is in flight"
                );
            }
            Event::DrainEnded { took, cut } => {
                info!(event = "drain.ended", took_s = took.as_secs_f64(), cut, "drained");
            }
            Event::TaskEnded { name } => {
                error!(event = "control.task-ended", name, "no change is taken any more; restart crossfade");
            }
            Event::Panicked { worker, message } => {
                error!(event = "connection.panicked", worker, %message, "a panic ended a connection");
            }
            Event::Memory { level: level @ "calm", used, limit } => {
                info!(event = "memory.level", level, used, limit, "there is enough memory again");
            }
            Event::Memory { level, used, limit } => {
                warn!(event = "memory.level", level, used, limit, "memory grows scarce");
            }
            Event::MemoryRoom { connections, fit, limit } => {
                warn!(
                    event = "memory.room",
                    connections, fit, limit, "memory is for fewer: lower `limits.connections`, or give more"
                );
            }
            Event::WrongToken { peer } => warn!(event = "admin.wrong-token", %peer, "a wrong admin token"),
            Event::Config(event) => event.log(),
            Event::AccessLog(event) => event.log(),
            Event::Acme(event) => event.log(),
            Event::State(event) => event.log(),
            Event::Health(event) => event.log(),
            Event::Upgrade(event) => event.log(),
        }
    }
}

/// Something that changed in what is served.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the fields are the log's own, and named for it")]
pub enum ConfigEvent<'a> {
    /// A snapshot serves.
    Applied { revision: u64, source: &'a str, routes: usize, backends: usize },
    /// Somebody's command is live.
    Steered { revision: u64, actor: &'a str, command: &'a str, reason: Option<&'a str> },
    /// A route differs from the file at start, by what commands have laid on it.
    InForce { route: &'a str, how: &'a dyn Display },
    /// What commands had laid on a route was lifted: the file says something else now than it did then.
    Lifted { revision: u64, route: &'a str },
    /// A configuration was refused; `revision` serves on. `report` names every problem.
    Refused { revision: u64, source: &'a str, problems: usize, report: &'a dyn Display },
    /// A value that takes effect at the next start only has changed.
    NeedsRestart { setting: &'a str },
    /// The configuration's source can't be watched or read as usual.
    SourceTrouble { source: &'a str, error: &'a dyn Display },
    /// The name of a backend leads to other addresses than before.
    Addresses { backend: &'a str, host: &'a str, addresses: &'a [IpAddr] },
    /// The name of a backend couldn't be looked up; the addresses known before serve on.
    LookupFailed { backend: &'a str, host: &'a str, error: &'a dyn Display },
}

impl ConfigEvent<'_> {
    fn log(self) {
        match self {
            Self::Applied { revision, source, routes, backends } => {
                info!(event = "config.applied", revision, source, routes, backends, "configuration applied");
            }
            Self::Steered { revision, actor, command, reason } => {
                info!(event = "command.applied", revision, actor, command, reason, "a command is live");
            }
            Self::InForce { route, how } => {
                warn!(event = "override.in-force", route, %how, "commands have changed what the file says");
            }
            Self::Lifted { revision, route } => {
                warn!(
                    event = "override.lifted",
                    revision, route, "the file says something else now, and wins"
                );
            }
            Self::Refused { revision, source, problems, report } => {
                error!(event = "config.refused", revision, source, problems, %report, "configuration refused");
            }
            Self::NeedsRestart { setting } => {
                warn!(
                    event = "config.needs-restart",
                    setting, "changed, but takes effect at the next start only"
                );
            }
            Self::SourceTrouble { source, error } => {
                warn!(event = "config.source-trouble", source, %error, "the configuration can't be watched or read");
            }
            Self::Addresses { backend, host, addresses } => {
                info!(event = "backend.addresses", backend, host, ?addresses, "addresses changed");
            }
            Self::LookupFailed { backend, host, error } => {
                warn!(event = "backend.lookup-failed", backend, host, %error, "name not found; known addresses stay");
            }
        }
    }
}

/// Something that changed in where access records go.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the fields are the log's own, and named for it")]
pub enum AccessLogEvent<'a> {
    /// The file was opened anew.
    Reopened { path: &'a Path },
    /// The file couldn't be opened anew; the old one is written on.
    NotReopened { path: &'a Path, error: &'a dyn Display },
    /// Records are being lost, from now on.
    Failing { error: &'a dyn Display },
    /// Records are written again.
    Recovered,
    /// The process ends, and the target took no more: what is left is lost.
    GaveUp,
}

impl AccessLogEvent<'_> {
    fn log(self) {
        match self {
            Self::Reopened { path } => {
                info!(event = "access-log.reopened", path = %path.display(), "access log opened anew");
            }
            Self::NotReopened { path, error } => {
                let path = path.display();
                error!(event = "access-log.not-reopened", %path, %error, "access log goes on in the old file");
            }
            Self::Failing { error } => {
                error!(event = "access-log.failing", %error, "access records are lost");
            }
            Self::GaveUp => error!(event = "access-log.gave-up", "the last access records are lost"),
            Self::Recovered => info!(event = "access-log.recovered", "access records are written again"),
        }
    }
}

impl<'a> From<ConfigEvent<'a>> for Event<'a> {
    fn from(event: ConfigEvent<'a>) -> Self {
        Self::Config(event)
    }
}

impl<'a> From<AccessLogEvent<'a>> for Event<'a> {
    fn from(event: AccessLogEvent<'a>) -> Self {
        Self::AccessLog(event)
    }
}

/// Something that changed in the certificate that is ordered by ACME.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the fields are the log's own, and named for it")]
pub enum AcmeEvent<'a> {
    /// A certificate was found in the state directory, and serves.
    Found { domains: &'a str, expires: &'a dyn Display },
    /// A certificate is being ordered.
    Ordered { domains: &'a str, directory: &'a str },
    /// The first certificate serves.
    Issued { domains: &'a str, expires: &'a dyn Display },
    /// Another certificate serves in place of the one before.
    Renewed { domains: &'a str, expires: &'a dyn Display },
    /// There is no new certificate; the one before serves on, and another try comes after the pause.
    Failed { reason: &'a str, error: &'a dyn Display, pause: Duration },
    /// A file of the state directory can't be used, and was set aside.
    StateBroken { path: &'a Path, error: &'a dyn Display },
}

impl AcmeEvent<'_> {
    fn log(self) {
        match self {
            Self::Found { domains, expires } => {
                info!(event = "acme.found", domains, %expires, "the kept certificate serves");
            }
            Self::Ordered { domains, directory } => {
                info!(event = "acme.ordered", domains, directory, "ordering a certificate");
            }
            Self::Issued { domains, expires } => {
                info!(event = "acme.issued", domains, %expires, "a new certificate serves");
            }
            Self::Renewed { domains, expires } => {
                info!(event = "acme.renewed", domains, %expires, "the renewed certificate serves");
            }
            Self::Failed { reason, error, pause } => {
                let pause_s = pause.as_secs();
                error!(event = "acme.failed", reason, %error, pause_s, "no new certificate; the one before serves on");
            }
            Self::StateBroken { path, error } => {
                let path = path.display();
                warn!(event = "acme.state-broken", %path, %error, "can't be used; set aside as .broken");
            }
        }
    }
}

impl<'a> From<AcmeEvent<'a>> for Event<'a> {
    fn from(event: AcmeEvent<'a>) -> Self {
        Self::Acme(event)
    }
}

/// Something that changed in how changes are kept over a restart.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the fields are the log's own, and named for it")]
pub enum StateEvent<'a> {
    /// Changes are live, but a restart would forget them; they are tried again until they are kept.
    Trouble { reason: &'a dyn Display },
    /// All changes are kept again.
    Recovered,
    /// Nobody can steer by way of the state directory.
    NoSocket { error: &'a dyn Display },
    /// The process ends, and so many of the last changes were never kept.
    Lost { entries: usize },
    /// The process starts by the file alone: what was kept, if anything, can't be read.
    Unread { reason: &'a dyn Display },
    /// What was found at start isn't whole.
    FoundBroken { what: &'a dyn Display },
    /// The journal grows on: it couldn't be written anew.
    NotShortened { reason: &'a dyn Display },
}

impl StateEvent<'_> {
    fn log(self) {
        match self {
            Self::Trouble { reason } => {
                error!(event = "state.trouble", %reason, "a restart would forget what has changed");
            }
            Self::Recovered => info!(event = "state.recovered", "all changes are kept"),
            Self::NoSocket { error } => {
                error!(event = "state.no-socket", %error, "the state directory lets no command in");
            }
            Self::Lost { entries } => error!(event = "state.lost", entries, "the last changes are forgotten"),
            Self::Unread { reason } => {
                error!(event = "state.unread", %reason, "started without what commands had changed");
            }
            Self::FoundBroken { what } => warn!(event = "state.found-broken", %what, "not all was kept"),
            Self::NotShortened { reason } => {
                warn!(event = "state.not-shortened", %reason, "the journal grows on");
            }
        }
    }
}

impl<'a> From<StateEvent<'a>> for Event<'a> {
    fn from(event: StateEvent<'a>) -> Self {
        Self::State(event)
    }
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventFormat {
    /// A line for reading, coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why events can't be written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The environment variable isn't a filter.
    #[error(
        "{VARIABLE}={value:?} isn't a log filter ({source}): write a level such as info, or crossfade=debug,warn"
    )]
    Filter {
        /// What it says.
        value: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is no thread to write them.
    #[error("events have no thread to write them: {0}; raise the limit on threads")]
    Thread(#[from] std::io::Error),
    /// [`init`] was called before.
    #[error("events are written already: start them once")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// The environment variable that says how much is told: `error`, `warn`, `info` (as if unset), `debug`,
/// `trace`, or a filter by module.
pub const VARIABLE: &str = "CROSSFADE_LOG";

/// From now on, events are written to standard error, as much as [`VARIABLE`] asks for.
pub fn init(format: EventFormat) -> Result<(), InitError> {
    let value = std::env::var_os(VARIABLE).unwrap_or_default();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = std::io::stderr().is_terminal() && !no_color;
    let filter = filter(&value.to_string_lossy())?;
    subscriber(format, filter, colour, Queue::start(std::io::stderr())?).try_init()?;
    Ok(())
}

/// Waits until everything told so far is written, for [`EVENT_CLOSE`](crate::config::limits::EVENT_CLOSE) at the
/// most. Called before the process ends, and before something else is written to standard error.
pub fn flush() {
    queue::flush();
}

fn filter(value: &str) -> Result<EnvFilter, InitError> {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    builder.parse(value).map_err(|source| InitError::Filter { value: value.to_owned(), source })
}

fn subscriber<W>(
    format: EventFormat,
    filter: EnvFilter,
    colour: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colour)
        .with_writer(writer);
    match format {
        EventFormat::Text => Box::new(builder.finish()),
        EventFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Sends what is written.
    struct Lines(Sender<Vec<u8>>);

    impl std::io::Write for &Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn told(format: EventFormat, level: &str, events: &[Event<'_>]) -> String {
        let (sender, lines) = channel();
        let subscriber = subscriber(format, filter(level).unwrap(), false, Arc::new(Lines(sender)));
        tracing::subscriber::with_default(subscriber, || events.iter().for_each(|event| event.log()));
        lines.try_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn an_event_is_one_json_object_with_its_name_and_fields() {
        let event = ConfigEvent::Applied { revision: 7, source: "crossfade.toml", routes: 1, backends: 2 };
        let line: serde_json::Value =
            serde_json::from_str(&told(EventFormat::Json, "", &[event.into()])).unwrap();
        assert_eq!((&line["event"], &line["level"]), (&"config.applied".into(), &"INFO".into()));
        assert_eq!((&line["revision"], &line["backends"]), (&7.into(), &2.into()));
    }

    #[test]
    fn text_names_the_event_and_a_level_silences_it() {
        let event = Event::DrainStarted { timeout: Duration::from_secs(30) };
        assert!(told(EventFormat::Text, "", &[event]).contains("event=\"drain.started\" timeout_s=30.0"));
        assert_eq!(told(EventFormat::Text, "warn", &[event]), "");
    }

    #[test]
    fn a_wrong_filter_is_named_with_its_remedy() {
        let error = filter("crossfade=loud").unwrap_err().to_string();
        assert!(error.starts_with("CROSSFADE_LOG=\"crossfade=loud\" isn't a log filter"), "{error}");
    }
}
