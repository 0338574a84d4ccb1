//! A worker's own side of a snapshot: what requests count, remember and reuse without another thread.
//!
//! `proxy::worker` makes one when it meets a new snapshot, and carries over what goes on: the exact sequences,
//! the pools and the queues. It must never be seen by two threads.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::limits::{Capacity, Limits, Timeouts};
use crate::config::model::{self, Name};
use crate::proxy::gate::Gate;
use crate::snapshot::{self, Snapshot};
use crate::split::{FreshBuckets, Sequence};
use crate::telemetry::backends::BackendSeries;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::series::Series;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::pool::Pool;

/// A snapshot with what one worker adds to it.
#[derive(Debug)]
pub struct View {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// By place in its routes.
    pub routes: Vec<RouteView>,
    /// By place in its backends.
    pub backends: Vec<BackendView>,
    /// Counts of requests that no route has.
    pub unrouted: Series,
    /// What bounds the connections that are opened now.
    pub bounds: Rc<Bounds>,
}

/// What bounds a connection, for its life: what is in force when it is opened.
#[derive(Debug)]
pub struct Bounds {
    /// Sizes and counts.
    pub limits: Limits,
    /// Waits.
    pub timeouts: Timeouts,
}

impl View {
    /// The view of `snapshot` that goes on from `before`.
    pub fn new(snapshot: Arc<Snapshot>, before: Option<&Self>, metrics: &Metrics, spread: Spread) -> Self {
        let before = before.map_or_else(Known::default, Known::of);
        let routes = snapshot.config.routes.iter().zip(&snapshot.routes);
        let routes = routes.map(|(route, compiled)| {
            let known = before.routes.get(&route.name).copied();
            RouteView::new(&route.name, &compiled.names, known, metrics, spread)
        });
        let routes = routes.collect();
        let bound = snapshot.config.limits.pool_idle;
        let backend = |(model, backend): (&model::Backend, &snapshot::Backend)| BackendView {
            pools: backend.endpoints.iter().map(|endpoint| before.pool(endpoint, bound)).collect(),
            turn: Cell::new(before.backends.get(&model.name).map_or(0, |backend| backend.turn.get())),
            gate: before.gate(&model.name, backend, model.capacity),
            series: metrics.backend(model.name.as_str()),
        };
        let backends = snapshot.config.backends.iter().zip(&snapshot.backends).map(backend).collect();
        let (limits, timeouts) = (snapshot.config.limits, snapshot.config.timeouts);
        let bounds = Rc::new(Bounds { limits, timeouts });
        Self { snapshot, routes, backends, unrouted: metrics.unrouted(), bounds }
    }

    /// All pools, each with how long its idle connections are kept.
    pub fn pools(&self) -> impl Iterator<Item = (&Rc<Pool>, Duration)> {
        let backends = self.backends.iter().zip(&self.snapshot.backends);
        backends.flat_map(|(view, backend)| view.pools.iter().map(|pool| (pool, backend.keep())))
    }

    /// Closes all connections that nobody uses at `now`, to whichever backend: somebody needs their descriptors.
    pub fn let_go_of_idle(&self, now: Instant) {
        self.pools().for_each(|(pool, _)| pool.sweep(now, Duration::ZERO));
    }
}

/// What keeps workers from doing the same at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Where sequences begin, 0 to 1.
    pub phase: f64,
    /// Where fresh buckets begin.
    pub bucket: u64,
}

/// What goes on from the view before, by what it is called.
#[derive(Default)]
struct Known<'a> {
    routes: HashMap<&'a Name, (&'a RouteView, &'a [Name])>,
    pools: HashMap<u64, &'a Rc<Pool>>,
    backends: HashMap<&'a Name, &'a BackendView>,
}

impl<'a> Known<'a> {
    fn of(view: &'a View) -> Self {
        let snapshot = &view.snapshot;
        let names = snapshot.config.routes.iter().map(|route| &route.name);
        let routes = view.routes.iter().zip(snapshot.routes.iter().map(|route| route.names.as_slice()));
        let pools = view.backends.iter().flat_map(|backend| &backend.pools);
        let backends = snapshot.config.backends.iter().map(|backend| &backend.name);
        Self {
            routes: names.zip(routes).collect(),
            pools: pools.map(|pool| (pool.endpoint().id, pool)).collect(),
            backends: backends.zip(&view.backends).collect(),
        }
    }

    fn gate(&self, name: &Name, backend: &snapshot::Backend, capacity: Capacity) -> Rc<Gate> {
        match self.backends.get(name).filter(|before| before.gate.is_of(&backend.load)) {
            Some(before) => {
                before.gate.bound_by(capacity);
                Rc::clone(&before.gate)
            }
            None => Rc::new(Gate::new(Arc::clone(&backend.load), capacity)),
        }
    }

    fn pool(&self, endpoint: &Arc<Endpoint>, bound: usize) -> Rc<Pool> {
        match self.pools.get(&endpoint.id) {
            Some(same) => {
                same.keep_at_most(bound);
                Rc::clone(same)
            }
            None => Rc::new(Pool::new(Arc::clone(endpoint), bound)),
        }
    }
}

/// A worker's side of a route.
#[derive(Debug)]
pub struct RouteView {
    /// The exact split.
    pub sequence: RefCell<Sequence>,
    /// Buckets for visitors without one: even for each route, so not shared between them.
    pub fresh: RefCell<FreshBuckets>,
    /// By place of the backend in the route.
    pub series: Vec<Series>,
}

impl RouteView {
    fn new(
        route: &Name,
        names: &[Name],
        known: Option<(&Self, &[Name])>,
        metrics: &Metrics,
        spread: Spread,
    ) -> Self {
        // Always new: a series of a pair that was removed and came back between two looks would count into
        // nothing.
        let series = names.iter().map(|name| metrics.series(route.as_str(), name.as_str())).collect();
        let (sequence, fresh) = match known {
            Some((before, old_names)) => {
                let place = |name| old_names.iter().position(|old| old == name);
                let sequence = before.sequence.borrow().carried(&names.iter().map(place).collect::<Vec<_>>());
                (sequence, before.fresh.borrow().clone())
            }
            None => (Sequence::new(names.len(), spread.phase), FreshBuckets::new(spread.bucket)),
        };
        Self { sequence: RefCell::new(sequence), fresh: RefCell::new(fresh), series }
    }
}

/// A worker's side of a backend.
#[derive(Debug)]
pub struct BackendView {
    /// By place of the endpoint in the backend.
    pub pools: Vec<Rc<Pool>>,
    /// Which endpoint is next.
    pub turn: Cell<usize>,
    /// Lets so many requests in at a time.
    pub gate: Rc<Gate>,
    /// Counts of connecting.
    pub series: BackendSeries,
}

impl BackendView {
    /// The place of the endpoint whose turn it is: one that is fit for requests; where there is none, any.
    pub fn next_turn(&self) -> usize {
        let several = self.pools.len();
        if several == 1 {
            return 0;
        }
        let turn = self.turn.get();
        let ahead = (0..several).find(|ahead| self.is_usable((turn + ahead) % several)).unwrap_or(0);
        self.turn.set((turn + ahead + 1) % several);
        (turn + ahead) % several
    }

    /// The place of the endpoint to try when the one at `turn` couldn't be reached.
    pub fn turn_after(&self, turn: usize) -> usize {
        let several = self.pools.len();
        let others = (1..several).map(|ahead| (turn + ahead) % several);
        others.clone().find(|at| self.is_usable(*at)).or(others.clone().next()).unwrap_or(turn)
    }

    /// Whether it is known that no request could be served: every endpoint is down, left out, or can't be reached time
    /// and again.
    pub fn is_down(&self) -> bool {
        (0..self.pools.len()).all(|at| !self.is_usable(at))
    }

    fn is_usable(&self, at: usize) -> bool {
        self.pools[at].endpoint().vitals.is_usable()
    }
}
