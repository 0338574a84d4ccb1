//! A worker's own side of a snapshot: what requests count, remember and reuse without another thread.
//!
//! `proxy::worker` makes one when it meets a new snapshot, and carries over what goes on: the exact sequences
//! and the pools. It must never be seen by two threads.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::model::Name;
use crate::snapshot::{self, Snapshot};
use crate::split::Sequence;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::series::{BackendSeries, Series};
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
}

impl View {
    /// The view of `snapshot` that goes on from `before`. `phase` in 0..1 spreads the workers' sequences.
    pub fn new(snapshot: Arc<Snapshot>, before: Option<&Self>, metrics: &Metrics, phase: f64) -> Self {
        let routes = snapshot.config.routes.iter().zip(&snapshot.routes);
        let routes = routes.map(|(route, compiled)| {
            let known = before.and_then(|view| view.route(&route.name));
            RouteView::new(&route.name, &compiled.names, known, metrics, phase)
        });
        let routes = routes.collect();
        let bound = snapshot.config.limits.pool_idle;
        let backend = |(model, backend): (&crate::config::model::Backend, &snapshot::Backend)| BackendView {
            pools: backend.endpoints.iter().map(|endpoint| pool(endpoint, before, bound)).collect(),
            turn: Cell::new(0),
            series: metrics.backend(model.name.as_str()),
        };
        let backends = snapshot.config.backends.iter().zip(&snapshot.backends).map(backend).collect();
        Self { snapshot, routes, backends, unrouted: metrics.unrouted(None) }
    }

    /// All pools, each with how long its idle connections are kept.
    pub fn pools(&self) -> impl Iterator<Item = (&Rc<Pool>, std::time::Duration)> {
        let backends = self.backends.iter().zip(&self.snapshot.backends);
        backends.flat_map(|(view, backend)| view.pools.iter().map(|pool| (pool, backend.keep())))
    }

    fn route(&self, name: &Name) -> Option<(&RouteView, &[Name])> {
        let at = self.snapshot.config.routes.iter().position(|route| route.name == *name)?;
        Some((&self.routes[at], &self.snapshot.routes[at].names))
    }
}

/// A worker's side of a route.
#[derive(Debug)]
pub struct RouteView {
    /// The exact split.
    pub sequence: RefCell<Sequence>,
    /// By place of the backend in the route.
    pub series: Vec<Series>,
}

impl RouteView {
    fn new(
        route: &Name,
        names: &[Name],
        known: Option<(&Self, &[Name])>,
        metrics: &Metrics,
        phase: f64,
    ) -> Self {
        // Always new: a series of a pair that was removed and came back between two looks would count into
        // nothing.
        let series = names.iter().map(|name| metrics.series(route.as_str(), name.as_str())).collect();
        let sequence = match known {
            Some((before, old_names)) => {
                let place = |name| old_names.iter().position(|old| old == name);
                before.sequence.borrow().carried(&names.iter().map(place).collect::<Vec<_>>())
            }
            None => Sequence::new(names.len(), phase),
        };
        Self { sequence: RefCell::new(sequence), series }
    }
}

/// A worker's side of a backend.
#[derive(Debug)]
pub struct BackendView {
    /// By place of the endpoint in the backend.
    pub pools: Vec<Rc<Pool>>,
    /// Which endpoint is next.
    pub turn: Cell<usize>,
    /// Counts of connecting.
    pub series: BackendSeries,
}

impl BackendView {
    /// The place of the endpoint whose turn it is.
    pub fn next_turn(&self) -> usize {
        match self.pools.len() {
            1 => 0,
            several => self.turn.replace(self.turn.get().wrapping_add(1)) % several,
        }
    }
}

fn pool(endpoint: &Arc<Endpoint>, before: Option<&View>, bound: usize) -> Rc<Pool> {
    let mut known = before.into_iter().flat_map(|view| &view.backends).flat_map(|backend| &backend.pools);
    match known.find(|pool| pool.endpoint().id == endpoint.id) {
        Some(same) => {
            same.keep_at_most(bound);
            Rc::clone(same)
        }
        None => Rc::new(Pool::new(Arc::clone(endpoint), bound)),
    }
}
