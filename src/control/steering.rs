//! What a driver's verb does to the states of routes, or the one sentence that says why it can't be.
//!
//! The Controller asks it before anything changes; a dry run is no more than this. It must never publish, keep or
//! read anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::config::model::{Config, Mode, Name, Route};
use crate::control::command::{Portion, Refused, RefusedReason};
use crate::control::overrides::{Overrides, name};
use crate::control::record::{Record, RouteState};

/// What is known when a driver asks.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// What the file says.
    pub file: &'a Config,
    /// What commands have laid on it.
    pub overrides: &'a Overrides,
    /// The revisions so far, the oldest first.
    pub history: &'a VecDeque<Arc<Record>>,
    /// Seconds since 1970.
    pub now: u64,
}

/// The overrides that an answer to a verb would bring.
pub type Wanted = Result<Overrides, Refused>;

impl Standing<'_> {
    /// A backend gets another share, of one route or of all that have it.
    ///
    /// # Errors
    /// Names what is unknown, or what doesn't fit.
    pub fn shift(&self, route: Option<&str>, backend: &str, to: Portion) -> Wanted {
        let routes = self.routes(route)?;
        let having: Vec<&Route> =
            routes.iter().copied().filter(|route| self.place(route, backend).is_some()).collect();
        if having.is_empty() {
            return Err(self.unknown_backend(&routes, backend));
        }
        self.each(&having, |route, state| self.shifted(route, state, backend, to))
    }

    /// Everything to stable.
    ///
    /// # Errors
    /// Names the route that is unknown.
    pub fn rollback(&self, route: Option<&str>) -> Wanted {
        self.each(&self.routes(route)?, |_, state| Ok(RouteState { rolled_back: true, ..state }))
    }

    /// Another mode.
    ///
    /// # Errors
    /// Names the route that is unknown.
    pub fn mode(&self, route: Option<&str>, mode: Mode) -> Wanted {
        self.each(&self.routes(route)?, |_, state| Ok(RouteState { mode, ..state }))
    }

    /// The states before a revision, of one route or of all; and that revision.
    ///
    /// # Errors
    /// Says why there is no way back.
    pub fn undo(&self, route: Option<&str>, revision: Option<u64>) -> Result<(Overrides, u64), Refused> {
        let target = match revision {
            Some(revision) => revision,
            None => self
                .last_change(&self.routes(route)?)
                .ok_or_else(|| invalid("there is no change to undo".to_owned()))?,
        };
        let Some(taken_back) = self.history.iter().find(|record| record.revision == target) else {
            return Err(self.not_in_history(target));
        };
        let mut routes = self.routes(route)?;
        if revision.is_none() {
            // What has been done to others since stays.
            let has = |route: &&Route| taken_back.changes.iter().any(|it| it.route == route.name.as_str());
            routes.retain(has);
        }
        let before = self.before(target);
        if before.is_empty() {
            let message = format!(
                "no command has changed anything since revision {target}; the file is edited, not undone"
            );
            return Err(invalid(message));
        }
        let mut overrides = self.overrides.clone();
        for route in routes {
            let Some(state) = before.get(route.name.as_str()) else { continue };
            let name = &route.name;
            overrides.lay(self.file, route, state, self.now).map_err(|_| {
                let why = "the file gives it other backends now; shift instead";
                invalid(format!("`{name}` can't go back to before revision {target}: {why}"))
            })?;
        }
        Ok((overrides, target))
    }

    fn not_in_history(&self, target: u64) -> Refused {
        invalid(match self.history.front() {
            Some(oldest) => {
                format!("revision {target} isn't in the history, which begins with {}", oldest.revision)
            }
            None => format!("revision {target} isn't in the history, which is empty"),
        })
    }

    /// What each route was before the first command since `target` that changed it.
    fn before(&self, target: u64) -> BTreeMap<&str, &RouteState> {
        let mut before = BTreeMap::new();
        let since = self.history.iter().rev().take_while(|record| record.revision >= target);
        for change in since.filter(|record| is_driven(record)).flat_map(|record| &record.changes) {
            if let Some(from) = &change.from {
                before.insert(change.route.as_str(), from);
            }
        }
        before
    }

    /// The last command that changed one of `routes` and isn't undone there, nor overtaken by the file.
    fn last_change(&self, routes: &[&Route]) -> Option<u64> {
        // By route: what is left to undo lies below this revision.
        let mut below: BTreeMap<&str, u64> =
            routes.iter().map(|route| (route.name.as_str(), u64::MAX)).collect();
        for record in self.history.iter().rev() {
            for change in &record.changes {
                let Some(below) = below.get_mut(change.route.as_str()) else { continue };
                match record.undoes {
                    _ if record.revision >= *below => {}
                    _ if !is_driven(record) => *below = 0,
                    Some(undone) => *below = undone,
                    None => return Some(record.revision),
                }
            }
        }
        None
    }

    fn each(
        &self,
        routes: &[&Route],
        state: impl Fn(&Route, RouteState) -> Result<RouteState, Refused>,
    ) -> Wanted {
        let mut overrides = self.overrides.clone();
        for route in routes {
            let state = state(route, self.overrides.state(self.file, route))?;
            let laid = overrides.lay(self.file, route, &state, self.now);
            laid.map_err(|error| invalid(format!("{}: {error}", route.name)))?;
        }
        Ok(overrides)
    }

    fn shifted(
        &self,
        route: &Route,
        state: RouteState,
        backend: &str,
        to: Portion,
    ) -> Result<RouteState, Refused> {
        let mut weights = state.weights;
        let now = weights.get(backend).copied().unwrap_or(0.0);
        let percent = portion(route, backend, now, to)?;
        let stable = name(self.file, route.stable);
        let rest = match (backend == stable, weights.len()) {
            (false, _) => stable.to_owned(),
            (true, 2) => weights.keys().find(|name| *name != stable).cloned().unwrap_or_default(),
            (true, _) => {
                let message = format!(
                    "`{backend}` is the stable backend of `{}`: it gets what the others leave; shift one of those",
                    route.name
                );
                return Err(invalid(message));
            }
        };
        let others: f64 = weights
            .iter()
            .filter(|(name, _)| **name != backend && **name != rest)
            .map(|(_, share)| share)
            .sum();
        if percent + others > 100.0 + 1e-9 {
            let most = shown(100.0 - others);
            let message = format!(
                "`{backend}` can get at most {most} % of `{}`: the others have {} %",
                route.name,
                shown(others)
            );
            return Err(invalid(message));
        }
        weights.insert(backend.to_owned(), percent);
        weights.insert(rest, (100.0 - percent - others).max(0.0));
        Ok(RouteState { weights, rolled_back: false, ..state })
    }

    /// The routes that are meant.
    fn routes(&self, route: Option<&str>) -> Result<Vec<&Route>, Refused> {
        let all = &self.file.routes;
        let Some(wanted) = route else { return Ok(all.iter().collect()) };
        match all.iter().find(|route| route.name.as_str() == wanted) {
            Some(route) => Ok(vec![route]),
            None => {
                let known = listed(all.iter().map(|route| &route.name));
                let error = format!("there is no route {}; there is {known}", quoted(wanted));
                Err(Refused { error, reason: RefusedReason::UnknownRoute })
            }
        }
    }

    fn place(&self, route: &Route, backend: &str) -> Option<usize> {
        route.backends.iter().position(|known| name(self.file, *known) == backend)
    }

    fn unknown_backend(&self, routes: &[&Route], backend: &str) -> Refused {
        let mut known: Vec<&Name> = routes
            .iter()
            .flat_map(|route| &route.backends)
            .map(|at| &self.file.backends[at.0].name)
            .collect();
        known.sort();
        known.dedup();
        let of = match routes {
            [route] => format!("the route `{}`", route.name),
            _ => "any route".to_owned(),
        };
        let error =
            format!("{} is no backend of {of}; there is {}", quoted(backend), listed(known.into_iter()));
        Refused { error, reason: RefusedReason::UnknownBackend }
    }
}

/// Whether a person asked for it, by a command.
pub fn is_driven(record: &Record) -> bool {
    matches!(record.via.as_str(), "socket" | "admin") && record.command != "reload"
}

/// A percentage as people write it: `5`, `12.5`.
pub fn shown(percent: f64) -> String {
    let rounded = (percent * 1e4).round() / 1e4;
    format!("{}", if rounded == 0.0 { 0.0 } else { rounded })
}

fn portion(route: &Route, backend: &str, now: f64, to: Portion) -> Result<f64, Refused> {
    let percent = match to {
        Portion::Percent(percent) => percent,
        Portion::Delta(delta) => now + delta,
    };
    if (0.0..=100.0).contains(&percent) {
        return Ok(percent);
    }
    Err(invalid(match to {
        Portion::Percent(percent) => {
            format!("`{backend}` can't get {} %: write a number from 0 to 100", shown(percent))
        }
        Portion::Delta(delta) => format!(
            "`{backend}` has {} % of `{}`: {}{} would be {} %; 0 to 100 is possible",
            shown(now),
            route.name,
            if delta < 0.0 { "" } else { "+" },
            shown(delta),
            shown(percent)
        ),
    }))
}

/// What a person wrote, short enough for a sentence and without what would break it.
fn quoted(text: &str) -> String {
    let short: String =
        text.chars().filter(|c| !c.is_control()).take(crate::config::limits::QUOTED).collect();
    format!("`{short}`")
}

fn listed<'a>(names: impl Iterator<Item = &'a Name>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let most = crate::config::limits::NAMES_LISTED;
    match names.len() {
        0 => "none".to_owned(),
        count if count <= most => names.join(", "),
        count => format!("{} and {} more", names[..most].join(", "), count - most),
    }
}

fn invalid(error: String) -> Refused {
    Refused { error, reason: RefusedReason::Invalid }
}

#[cfg(test)]
#[path = "steering_tests.rs"]
mod tests;
