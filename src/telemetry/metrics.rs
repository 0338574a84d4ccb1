//! The metric families of the contract, and their text. The only file that imports `prometheus`.
//!
//! One [`Metrics`] is made at start and lives as long as the process: workers take their series from it, the
//! control thread tells it of every publish and reload, the observability listener asks for the text. A
//! reload must never reset a series, a label value must never come from a visitor's bytes, and a scrape must
//! never make a worker wait (it reads atomics). A request that was refused before it had a route or backend
//! counts under `none`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{
    Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use super::backends::BackendSeries;
use super::carried::Totals;
use super::families::{self, Family, Named, Sample, Value};
use super::loads::{Carried, Loads};
use super::orders::Orders;
pub use super::pairs::Share;
use super::pairs::{NONE, Pairs};
use super::process;
use super::rates::{self, Pair};
use super::series::{BOUNDS, Tally};
pub use super::series::{InFlight, MethodLabel, Reasons, Series};

/// The `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Everything that is counted. Clones are the same.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

impl Metrics {
    /// All families at zero. `version` is the program's own.
    pub fn new(version: &str, reasons: Reasons) -> Self {
        let registry = Registry::new();
        let pairs = Arc::new(Pairs::new(reasons));
        let rejected = Arc::new(Tally::new(reasons.rejections));
        let orders = Arc::new(Orders::default());
        let loads = Arc::new(Loads::default());
        register(&registry, Families::new(&pairs, &rejected, &orders, &loads));
        #[cfg(target_os = "linux")]
        register(&registry, prometheus::process_collector::ProcessCollector::for_self());
        build_info(&registry, version);
        let (process, carried) = (Process::new(&registry), ArcSwap::default());
        Self(Arc::new(Inner { process, registry, pairs, rejected, orders, loads, carried }))
    }

    /// Counts of one route and backend, for one worker. Takes a lock for a moment: once per worker and
    /// snapshot, not per request. What [`reconcile`](Self::reconcile) hasn't been told of counts nowhere, so
    /// it goes first.
    pub fn series(&self, route: &str, backend: &str) -> Series {
        self.0.pairs.series(route, backend)
    }

    /// Counts of the requests that had no route, and so no backend.
    pub fn unrouted(&self) -> Series {
        self.0.pairs.series(NONE, NONE)
    }

    /// Counts of one backend. As for [`series`](Self::series), once per worker and snapshot.
    pub fn backend(&self, name: &str) -> BackendSeries {
        self.0.pairs.backend(name)
    }

    /// Counts of the connections that `worker` has from `listener`. Once per worker and listener.
    pub fn connections(&self, listener: &str, worker: usize) -> Connections {
        Connections {
            listener: self.0.process.connections_open.with_label_values(&[listener]),
            worker: self.0.process.worker_connections_open.with_label_values(&[&worker.to_string()]),
        }
    }

    /// Brings the series in line with what is about to be published: new ones start at zero, those of pairs
    /// that are gone are removed from every family, all others stay as they are. Whoever still holds a
    /// removed one counts into nothing. Called before every publish, with every backend of every route,
    /// weight 0 included.
    pub fn reconcile(&self, shares: &[Share<'_>]) {
        self.0.pairs.reconcile(shares);
    }

    /// There are these backends, and no others. Called before every publish, too.
    pub fn loads(&self, all: Vec<Carried>) {
        self.0.loads.are(all);
    }

    /// The snapshot of this number serves now.
    pub fn revision(&self, revision: u64) {
        self.0.process.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    /// The configuration was read well at `now`: at start, where no reload is counted.
    pub fn loaded(&self, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.process.last_reload_successful.set(1);
        self.0.process.last_reload_success.set(since.as_secs_f64());
    }

    /// The configuration was read anew and well at `now`.
    pub fn reloaded(&self, now: SystemTime) {
        self.0.process.reloads.with_label_values(&["success"]).inc();
        self.loaded(now);
    }

    /// The configuration was read anew and refused.
    pub fn reload_failed(&self) {
        self.0.process.reloads.with_label_values(&["failure"]).inc();
        self.0.process.last_reload_successful.set(0);
    }

    /// Somebody's command was carried out, or refused. Its name is one of [`COMMAND_NAMES`].
    pub fn commanded(&self, name: &'static str, applied: bool) {
        let result = if applied { "applied" } else { "refused" };
        self.0.process.commands.with_label_values(&[name, result]).inc();
    }

    /// These routes differ from what the file says, each since so many seconds after 1970; no others.
    pub fn overridden<'a>(&self, since: impl Iterator<Item = (&'a str, u64)>) {
        self.0.process.overrides.reset();
        since.for_each(|(route, at)| self.0.process.overrides.with_label_values(&[route]).set(at as f64));
    }

    /// Whether everything that was changed would survive a restart.
    pub fn kept(&self, kept: bool) {
        self.0.process.state_kept.set(i64::from(kept));
    }

    /// How much memory there may be, and the level of what is used: 0, 1 or 2.
    pub fn memory(&self, limit: Option<u64>, level: u8) {
        let limit = limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        self.0.process.memory_limit.set(limit);
        self.0.process.memory_level.set(i64::from(level));
    }

    /// A request was refused for what the visitor sent. A reason that isn't among [`Reasons::rejections`]
    /// counts as `other`.
    pub fn rejected(&self, reason: &'static str) {
        self.0.rejected.count(reason);
    }

    /// These certificates are served, each with its name and its end; no others.
    pub fn certificates(&self, expiries: &[(String, SystemTime)]) {
        self.0.process.certificate_expiry.reset();
        for (name, expires) in expiries {
            let seconds = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            self.0.process.certificate_expiry.with_label_values(&[name]).set(seconds);
        }
    }

    /// A connection ended before its first request.
    pub fn refused(&self, reason: RefusedConnection) {
        self.0.process.refused_connections.with_label_values(&[reason.as_str()]).inc();
    }

    /// How the ordering of certificates goes.
    pub fn orders(&self) -> &Orders {
        &self.0.orders
    }

    /// A panic ended a connection.
    pub fn panicked(&self) {
        self.0.process.panics.inc();
    }

    /// So many access records were lost.
    pub fn access_log_dropped(&self, records: u64) {
        self.0.process.access_log_dropped.inc_by(records);
    }

    /// What every pair has counted since it is there, for `readings`; those without a route or backend aside.
    pub(super) fn looked_at(&self) -> impl Iterator<Item = (Pair, rates::Totals)> {
        self.0.pairs.looked_at()
    }

    /// All families in the text format, as `GET /metrics` answers.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(64 * 1024);
        TextEncoder::new()
            .encode_utf8(&self.0.registry.gather(), &mut text)
            .expect("a String takes everything, and a registry gathers no empty family");
        self.0.carried.load().folded_into(&text)
    }

    /// Everything that is counted, by this process and by those before it.
    pub fn totals(&self) -> Totals {
        Totals::of(&self.encode())
    }

    /// The processes before this one have counted so much; what they said of that before is replaced.
    pub fn carry(&self, totals: Totals) {
        self.0.carried.store(Arc::new(totals));
    }

    /// The process was to be replaced by another, which serves now, or doesn't.
    pub fn upgraded(&self, well: bool) {
        self.0.process.upgrades.with_label_values(&[if well { "success" } else { "failure" }]).inc();
    }

    /// So many processes drain behind this one.
    pub fn behind(&self, processes: u32) {
        self.0.process.behind.set(i64::from(processes));
    }
}

/// Counts of one worker's connections from one listener.
#[derive(Debug, Clone)]
pub struct Connections {
    listener: IntGauge,
    worker: IntGauge,
}

impl Connections {
    /// One more connection is open, until the guard is dropped.
    pub fn open(&self) -> OpenConnection {
        self.listener.inc();
        self.worker.inc();
        OpenConnection(self.clone())
    }
}

/// A connection that counts as open as long as this lives.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub struct OpenConnection(Connections);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.listener.dec();
        self.0.worker.dec();
    }
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    pairs: Arc<Pairs>,
    rejected: Arc<Tally>,
    orders: Arc<Orders>,
    loads: Arc<Loads>,
    process: Process,
    /// What processes before this one have counted.
    carried: ArcSwap<Totals>,
}

/// The families without a pair. Where one has two labels, no values of them run together to the same text, on which
/// `pairs` says more.
#[derive(Debug)]
struct Process {
    connections_open: IntGaugeVec,
    worker_connections_open: IntGaugeVec,
    revision: IntGauge,
    reloads: IntCounterVec,
    last_reload_successful: IntGauge,
    last_reload_success: Gauge,
    access_log_dropped: IntCounter,
    panics: IntCounter,
    certificate_expiry: GaugeVec,
    refused_connections: IntCounterVec,
    commands: IntCounterVec,
    overrides: GaugeVec,
    state_kept: IntGauge,
    memory_limit: IntGauge,
    memory_level: IntGauge,
    upgrades: IntCounterVec,
    behind: IntGauge,
}

impl Process {
    fn new(registry: &Registry) -> Self {
        let opts = |(name, help): Named| Opts::new(name, help);
        let reloads = add(registry, IntCounterVec::new(opts(process::RELOADS), &["result"]));
        for result in ["success", "failure"] {
            reloads.with_label_values(&[result]);
        }
        let refused_connections = add(registry, IntCounterVec::new(opts(process::REFUSED), &["reason"]));
        for reason in RefusedConnection::ALL {
            refused_connections.with_label_values(&[reason.as_str()]);
        }
        let commands = add(registry, IntCounterVec::new(opts(process::COMMANDS), &["command", "result"]));
        for name in COMMAND_NAMES {
            for result in ["applied", "refused"] {
                commands.with_label_values(&[name, result]);
            }
        }
        let upgrades = add(registry, IntCounterVec::new(opts(process::UPGRADES), &["result"]));
        for result in ["success", "failure"] {
            upgrades.with_label_values(&[result]);
        }
        Self {
            upgrades,
            behind: add(registry, IntGauge::with_opts(opts(process::BEHIND))),
            connections_open: add(registry, IntGaugeVec::new(opts(process::CONNECTIONS), &["listener"])),
            worker_connections_open: add(
                registry,
                IntGaugeVec::new(opts(process::WORKER_CONNECTIONS), &["worker"]),
            ),
            revision: add(registry, IntGauge::with_opts(opts(process::REVISION))),
            reloads,
            last_reload_successful: add(registry, IntGauge::with_opts(opts(process::LAST_RELOAD_SUCCESSFUL))),
            last_reload_success: add(registry, Gauge::with_opts(opts(process::LAST_RELOAD_SUCCESS))),
            access_log_dropped: add(registry, IntCounter::with_opts(opts(process::ACCESS_LOG_DROPPED))),
            panics: add(registry, IntCounter::with_opts(opts(process::PANICS))),
            certificate_expiry: add(registry, GaugeVec::new(opts(process::CERTIFICATE_EXPIRY), &["name"])),
            refused_connections,
            commands,
            overrides: add(registry, GaugeVec::new(opts(process::OVERRIDES), &["route"])),
            state_kept: add(registry, IntGauge::with_opts(opts(process::STATE_KEPT))),
            memory_limit: add(registry, IntGauge::with_opts(opts(process::MEMORY_LIMIT))),
            memory_level: add(registry, IntGauge::with_opts(opts(process::MEMORY_LEVEL))),
        }
    }
}

/// Every command there is.
pub const COMMAND_NAMES: [&str; 7] = ["shift", "rollback", "undo", "mode", "reload", "upgrade", "drain"];

/// Why a connection ends before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedConnection {
    /// No PROXY header, or a broken one, where one has to stand.
    ProxyHeader,
    /// A peer that isn't among `forwarded.trusted`, on a listener of the PROXY protocol.
    ProxyPeer,
    /// The TLS handshake took too long.
    TlsTimeout,
    /// It failed: a scanner, a certificate that wasn't believed, a version too old.
    TlsFailed,
}

impl RefusedConnection {
    const ALL: [Self; 4] = [Self::ProxyHeader, Self::ProxyPeer, Self::TlsTimeout, Self::TlsFailed];

    fn as_str(self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy_header",
            Self::ProxyPeer => "proxy_peer",
            Self::TlsTimeout => "tls_timeout",
            Self::TlsFailed => "tls_failed",
        }
    }
}

/// Gathers the families that have routes, backends or reasons.
struct Families {
    pairs: Arc<Pairs>,
    rejected: Arc<Tally>,
    orders: Arc<Orders>,
    loads: Arc<Loads>,
    desc: Vec<Desc>,
}

impl Families {
    fn new(pairs: &Arc<Pairs>, rejected: &Arc<Tally>, orders: &Arc<Orders>, loads: &Arc<Loads>) -> Self {
        let desc = |(name, help): Named| {
            Desc::new(name.into(), help.into(), Vec::new(), HashMap::new())
                .expect("names and helps are valid")
        };
        let desc = families::named().chain(Orders::named()).chain(Loads::named()).map(desc).collect();
        let (pairs, rejected) = (Arc::clone(pairs), Arc::clone(rejected));
        Self { pairs, rejected, orders: Arc::clone(orders), loads: Arc::clone(loads), desc }
    }
}

impl Collector for Families {
    fn desc(&self) -> Vec<&Desc> {
        self.desc.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = families::all(&self.pairs, &self.rejected).into_iter().chain(self.orders.families());
        let all = all.chain(self.loads.families());
        all.map(|shown| family(&shown)).collect()
    }
}

fn family(from: &Family) -> MetricFamily {
    let kind = match from.samples.first().map(|sample| &sample.value) {
        Some(Value::Counter(_)) | None => MetricType::COUNTER,
        Some(Value::Gauge(_)) => MetricType::GAUGE,
        Some(Value::Histogram { .. }) => MetricType::HISTOGRAM,
    };
    let mut family = MetricFamily::default();
    family.set_name(from.named.0.to_owned());
    family.set_help(from.named.1.to_owned());
    family.set_field_type(kind);
    family.set_metric(from.samples.iter().map(metric).collect());
    family
}

fn metric(sample: &Sample) -> Metric {
    let label = |(name, value): &(&'static str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    };
    let mut metric = Metric::from_label(sample.labels.iter().map(label).collect());
    match &sample.value {
        Value::Counter(count) => {
            let mut counter = proto::Counter::default();
            counter.set_value(*count as f64);
            metric.set_counter(counter);
        }
        Value::Gauge(level) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(*level);
            metric.set_gauge(gauge);
        }
        Value::Histogram { buckets, sum } => metric.set_histogram(histogram(buckets, *sum)),
    }
    metric
}

fn histogram(buckets: &[u64; BOUNDS.len() + 1], sum: f64) -> proto::Histogram {
    let mut below = 0;
    let cumulative = buckets.map(|count| {
        below += count;
        below
    });
    let bucket = |(bound, count)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(below);
    histogram.set_sample_sum(sum);
    histogram.set_bucket(BOUNDS.into_iter().zip(cumulative).map(bucket).collect());
    histogram
}

fn build_info(registry: &Registry, version: &str) {
    let opts = Opts::new("crossfade_build_info", "Always 1; the label names the version that runs.");
    add(registry, IntGauge::with_opts(opts.const_label("version", version))).set(1);
}

/// Registers a family that `prometheus` keeps itself.
fn add<C: Collector + Clone + 'static>(registry: &Registry, family: prometheus::Result<C>) -> C {
    let family = family.expect("names, labels and helps are valid");
    register(registry, family.clone());
    family
}

fn register(registry: &Registry, families: impl Collector + 'static) {
    registry.register(Box::new(families)).expect("every family has a name of its own");
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
