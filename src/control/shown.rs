//! What the Controller shows of routes and commands, in the words that people read.
//!
//! The Controller calls it. It must never decide anything.

use std::fmt::Write;
use std::sync::Arc;

use crate::config::model::{Config, Mode, Route};
use crate::control::command::{Portion, Steer, Verb};
use crate::control::overrides::{Overrides, name};
use crate::control::record::RouteState;
use crate::control::status::{BackendShown, RouteShown};
use crate::control::steering::shown;

/// Every route, as the file has it and as it is live.
pub(super) fn routes(file: &Config, overrides: &Overrides) -> Arc<[RouteShown]> {
    let nothing = Overrides::default();
    let route = |route: &Route| RouteShown {
        name: route.name.to_string(),
        hosts: route.hosts.iter().map(ToString::to_string).collect(),
        path: route.path.to_string(),
        stable: name(file, route.stable).to_owned(),
        live: overrides.state(file, route),
        file: nothing.state(file, route),
        backends: route.backends.iter().map(|backend| self::backend(file, backend.0)).collect(),
    };
    file.routes.iter().map(route).collect()
}

/// A command as it would be written on the command line.
pub(super) fn command(steer: &Steer) -> String {
    let mut text = match &steer.verb {
        Verb::Shift { backend, to: Portion::Percent(percent) } => {
            format!("shift {backend} {}%", shown(*percent))
        }
        Verb::Shift { backend, to: Portion::Delta(delta) } => {
            format!("shift {backend} {}{}", if *delta < 0.0 { "" } else { "+" }, shown(*delta))
        }
        Verb::Undo { revision: Some(revision) } => format!("undo {revision}"),
        Verb::Mode(mode) => format!("mode {}", mode.as_str()),
        Verb::Rollback | Verb::Undo { revision: None } | Verb::Reload | Verb::Upgrade | Verb::Drain => {
            steer.verb.name().to_owned()
        }
    };
    if let Some(route) = &steer.route {
        write!(text, " --route {route}").expect("a String takes everything");
    }
    text
}

/// What a route does, in a few words: `rolled back`, `maintenance, fly 25 %, heroku 75 %`.
pub(super) fn described(state: &RouteState) -> String {
    let weights = state.weights.iter().map(|(name, percent)| format!("{name} {} %", shown(*percent)));
    let mode = (state.mode != Mode::Open).then(|| state.mode.as_str().to_owned());
    match state.rolled_back {
        true => mode.into_iter().chain(["rolled back".to_owned()]).collect::<Vec<_>>().join(", "),
        false => mode.into_iter().chain(weights).collect::<Vec<_>>().join(", "),
    }
}

fn backend(file: &Config, at: usize) -> BackendShown {
    let backend = &file.backends[at];
    BackendShown {
        name: backend.name.to_string(),
        urls: backend.endpoints.iter().map(ToString::to_string).collect(),
    }
}
