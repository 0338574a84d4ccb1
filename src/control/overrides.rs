//! What commands have laid on the file, and what is live by both.
//!
//! The Controller lays and lifts them, the journal keeps them. The file wins: an override is lifted as soon as the file
//! says something else than when it was laid. It must never change what the file doesn't know, nor read a clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::model::{BackendIndex, Config, Failover, Mode, Route};
use crate::control::record::{Change, RouteState};
use crate::split::{Pin, TOTAL, Weights, WeightsError};

/// Shares in percent by backend.
pub type Shares = BTreeMap<String, f64>;

/// Everything that commands have laid on the file, by route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overrides(BTreeMap<String, Override>);

/// What commands have laid on one route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Override {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split: Option<Laid<Placed, Written>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<Laid<Mode, Mode>>,
    /// When it was laid so, in seconds since 1970.
    since: u64,
}

/// A value, and what the file said when it was laid over that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Laid<T, F> {
    value: T,
    over: F,
}

/// Where a route's requests go instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Placed {
    Weights(Shares),
    /// To stable, whatever a request brings.
    RolledBack,
}

/// What the file says of where they go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Written {
    stable: String,
    weights: Shares,
    /// See [`Config::words`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    words: Option<String>,
}

impl Overrides {
    /// Whether there are none.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The configuration that serves: the file's, and what is laid on it.
    pub fn laid_on(&self, file: &Config) -> Config {
        let mut config = file.clone();
        for route in &mut config.routes {
            let Some(laid) = self.0.get(route.name.as_str()) else { continue };
            route.mode = laid.mode.as_ref().map_or(route.mode, |mode| mode.value);
            match laid.split.as_ref().map(|split| &split.value) {
                // Shares that were weights once, of the same backends, are weights.
                Some(Placed::Weights(shares)) => {
                    route.weights = weights(file, route, shares).unwrap_or_else(|_| route.weights.clone());
                }
                Some(Placed::RolledBack) => {
                    route.weights = all_to_stable(route);
                    route.pin = Pin::default();
                    if let Failover::Both(_) = route.failover {
                        route.failover = Failover::ToStable;
                    }
                }
                None => {}
            }
        }
        config
    }

    /// What can be changed of a route of `file`, as it is live.
    pub fn state(&self, file: &Config, route: &Route) -> RouteState {
        let laid = self.0.get(route.name.as_str());
        let mode = laid.and_then(|laid| laid.mode.as_ref()).map_or(route.mode, |mode| mode.value);
        let placed = laid.and_then(|laid| laid.split.as_ref()).map(|split| &split.value);
        let (weights, rolled_back) = match placed {
            Some(Placed::Weights(shares)) => (shares.clone(), false),
            Some(Placed::RolledBack) => (percents(file, route, &all_to_stable(route)), true),
            None => (percents(file, route, &route.weights), false),
        };
        RouteState { weights, mode, rolled_back }
    }

    /// The same for all routes, by name.
    pub fn states(&self, file: &Config) -> BTreeMap<String, RouteState> {
        let state = |route: &Route| (route.name.to_string(), self.state(file, route));
        file.routes.iter().map(state).collect()
    }

    /// Since when each route differs from the file, in seconds since 1970.
    pub fn since(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(route, laid)| (route.as_str(), laid.since))
    }

    /// Has a route of the file in `state` from `now` on, in seconds since 1970.
    ///
    /// # Errors
    /// When its weights are none for the route's backends; nothing has changed then.
    pub fn lay(
        &mut self,
        file: &Config,
        route: &Route,
        state: &RouteState,
        now: u64,
    ) -> Result<(), WeightsError> {
        let written = Written::of(file, route);
        let value = match state.rolled_back {
            true => Some(Placed::RolledBack),
            false => {
                let shares = percents(file, route, &weights(file, route, &state.weights)?);
                (shares != percents(file, route, &route.weights)).then_some(Placed::Weights(shares))
            }
        };
        let split = value.map(|value| Laid { value, over: written });
        let mode = (state.mode != route.mode).then_some(Laid { value: state.mode, over: route.mode });
        let name = route.name.as_str();
        let same = |laid: &&Override| laid.split == split && laid.mode == mode;
        let since = self.0.get(name).filter(same).map_or(now, |laid| laid.since);
        match (&split, &mode) {
            (None, None) => drop(self.0.remove(name)),
            _ => drop(self.0.insert(name.to_owned(), Override { split, mode, since })),
        }
        Ok(())
    }

    /// Lifts what `file` has overtaken; says the names of the routes that had it.
    pub fn lift_for(&mut self, file: &Config) -> Vec<String> {
        let mut lifted = Vec::new();
        self.0.retain(|name, laid| {
            let before = laid.clone();
            match file.routes.iter().find(|route| route.name.as_str() == name) {
                Some(route) => {
                    laid.split
                        .take_if(|split| split.over != Written::of(file, route) || !split.fits(file, route));
                    laid.mode.take_if(|mode| mode.over != route.mode);
                }
                None => *laid = Override::default(),
            }
            if *laid != before {
                lifted.push(name.clone());
            }
            laid.split.is_some() || laid.mode.is_some()
        });
        lifted
    }
}

impl Laid<Placed, Written> {
    /// Whether it can be laid at all: what a state file says may be anything.
    fn fits(&self, file: &Config, route: &Route) -> bool {
        match &self.value {
            Placed::Weights(shares) => weights(file, route, shares).is_ok(),
            Placed::RolledBack => true,
        }
    }
}

impl Written {
    fn of(file: &Config, route: &Route) -> Self {
        let stable = name(file, route.stable).to_owned();
        let mut weights = percents(file, route, &route.weights);
        // Who gets nothing may come and go: that is no other split.
        weights.retain(|_, share| *share > 0.0);
        Self { stable, weights, words: file.words.clone() }
    }
}

/// What differs between two sets of states, in the order of the names.
pub fn changes(from: &BTreeMap<String, RouteState>, to: &BTreeMap<String, RouteState>) -> Vec<Change> {
    let names: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let change = |name: &String| {
        let (from, to) = (from.get(name).cloned(), to.get(name).cloned());
        (from != to).then(|| Change { route: name.clone(), from, to })
    };
    names.into_iter().filter_map(change).collect()
}

/// The name of a backend.
pub fn name(config: &Config, BackendIndex(at): BackendIndex) -> &str {
    config.backends[at].name.as_str()
}

/// Weights of a route's backends in percent, to the millionth of the whole.
fn percents(config: &Config, route: &Route, weights: &Weights) -> Shares {
    let percent = |part: u32| f64::from(part) * 100.0 / f64::from(TOTAL);
    let names = route.backends.iter().map(|backend| name(config, *backend).to_owned());
    names.zip(weights.parts().iter().map(|part| percent(*part))).collect()
}

/// Shares by name as the weights of a route. One that isn't named gets none; a name that isn't the route's makes them
/// none.
fn weights(config: &Config, route: &Route, shares: &Shares) -> Result<Weights, WeightsError> {
    let names: Vec<&str> = route.backends.iter().map(|backend| name(config, *backend)).collect();
    let share = |name: &&str| shares.get(*name).copied().unwrap_or(0.0);
    if shares.keys().any(|known| !names.contains(&known.as_str())) {
        return Err(WeightsError::Count(shares.len()));
    }
    Weights::new(&names.iter().map(share).collect::<Vec<_>>(), route.weights.stable())
}

fn all_to_stable(route: &Route) -> Weights {
    let stable = route.weights.stable();
    let shares: Vec<f64> = (0..route.backends.len()).map(|at| f64::from(u8::from(at == stable))).collect();
    Weights::new(&shares, stable).expect("one share of the route's own backends is above zero")
}

#[cfg(test)]
#[path = "overrides_tests.rs"]
pub(super) mod tests;
