//! Watches the health of all endpoints on the control thread: has them asked, looks at what workers have counted, marks
//! who gets requests, and says what has changed.
//!
//! `app` starts it. What it knows outlives configurations, for endpoints that stay. It must never make one backend wait
//! for another, nor a request for anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config::limits::health::HEALTH_LOOK;
use crate::config::model::{self, BackendIndex, Name};
use crate::control::status::{HealthShown, Statuses};
use crate::health::ejection::{Ejections, Seen, Verdict};
use crate::health::member::Member;
use crate::health::question::Question;
use crate::health::vitals::Mark;
use crate::snapshot::publish::Published;
use crate::snapshot::{Backend, Snapshot};
use crate::telemetry::events::{Event, HealthEvent};
use crate::telemetry::metrics::Metrics;

/// Whom it tells, and who wakes it.
#[derive(Debug)]
pub struct Outlets {
    /// Where it counts.
    pub metrics: Metrics,
    /// Where it is seen.
    pub statuses: Statuses,
    /// Told when something shouldn't wait for the next look.
    pub alarm: Arc<Notify>,
}

/// Watches for ever. To be run where tasks of one thread may be started.
pub async fn watch(published: Published, outlets: Outlets) {
    let began = Instant::now();
    let mut watched: BTreeMap<Name, Watched> = BTreeMap::new();
    let mut ticks = interval(HEALTH_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = outlets.alarm.notified() => {}
        }
        let snapshot = published.current();
        watched.retain(|name, _| snapshot.config.backends.iter().any(|backend| backend.name == *name));
        for (at, backend) in snapshot.config.backends.iter().enumerate() {
            watched.entry(backend.name.clone()).or_default().look(&snapshot, at, began, &outlets);
        }
        show(&snapshot, &watched, &outlets.statuses);
    }
}

/// One backend, watched.
#[derive(Default)]
struct Watched {
    ejections: Ejections,
    members: Vec<Member>,
    /// Since when it is down, if it is.
    down: Option<Instant>,
}

impl Watched {
    fn look(&mut self, snapshot: &Snapshot, at: usize, began: Instant, outlets: &Outlets) {
        let (model, backend) = (&snapshot.config.backends[at], &snapshot.backends[at]);
        let (name, rules) = (model.name.as_str(), &model.health.ejection);
        self.keep(backend);
        for member in &mut self.members {
            let question = Question::of(snapshot, at, &member.endpoint);
            member.endpoint.vitals.enough_are(rules.after);
            member.ask(name, question, &outlets.metrics, &outlets.alarm);
        }
        let series = outlets.metrics.backend(name);
        let seen: Vec<Seen> = self.members.iter().map(Member::seen).collect();
        for verdict in self.ejections.look(rules, &seen, began.elapsed()) {
            match verdict {
                Verdict::Ejected { at, cause, lasts } => {
                    self.members[at].eject(cause, lasts);
                    series.ejected();
                }
                Verdict::Readmitted { at } => self.members[at].endpoint.vitals.begin_anew(),
            }
        }
        for (place, member) in self.members.iter_mut().enumerate() {
            member.endpoint.vitals.mark(Mark::Ejected, self.ejections.is_out(place));
            member.knock(Question::of(snapshot, at, &member.endpoint).without_probe());
            member.tell(name);
        }
        let usable = self.members.iter().filter(|member| member.endpoint.vitals.is_usable()).count();
        series.usable(usable);
        self.tell(snapshot, at, usable == 0);
    }

    /// Brings the members in line with the endpoints that there are.
    fn keep(&mut self, backend: &Backend) {
        let mut before = std::mem::take(&mut self.members);
        let member = |endpoint| {
            let known = before.iter().position(|member| Arc::ptr_eq(&member.endpoint, endpoint));
            known.map_or_else(|| Member::new(endpoint), |at| before.swap_remove(at))
        };
        self.members = backend.endpoints.iter().map(member).collect();
    }

    /// Tells whether the backend as a whole has turned.
    fn tell(&mut self, snapshot: &Snapshot, at: usize, is_down: bool) {
        let backend = snapshot.config.backends[at].name.as_str();
        match (self.down, is_down) {
            (None, true) => {
                self.down = Some(Instant::now());
                let requests = destination(snapshot, at);
                Event::from(HealthEvent::BackendDown { backend, requests: &requests }).log();
            }
            (Some(since), false) => {
                self.down = None;
                Event::from(HealthEvent::BackendUp { backend, out: since.elapsed() }).log();
            }
            (None, false) | (Some(_), true) => {}
        }
    }
}

/// Where the requests of a backend go that is down, in words.
fn destination(snapshot: &Snapshot, at: usize) -> String {
    let mut ways = BTreeSet::new();
    for route in &snapshot.config.routes {
        let Some(position) = route.backends.iter().position(|backend| backend.0 == at) else { continue };
        let way = match route.fallback(position).map(|position| route.backends[position]) {
            None => format!("route {}: still sent there, it has no failover", route.name),
            Some(BackendIndex(other)) => {
                let name = &snapshot.config.backends[other].name;
                let down =
                    snapshot.backends[other].endpoints.iter().all(|endpoint| !endpoint.vitals.is_usable());
                match down {
                    true => format!("route {}: still sent there, {name} is down as well", route.name),
                    false => format!("route {}: sent to {name} instead", route.name),
                }
            }
        };
        ways.insert(way);
    }
    ways.into_iter().collect::<Vec<_>>().join("; ")
}

/// Puts what is known into the status, where it has changed.
fn show(snapshot: &Snapshot, watched: &BTreeMap<Name, Watched>, statuses: &Statuses) {
    let shown = |(at, backend): (usize, &model::Backend)| {
        let watched = watched.get(&backend.name)?;
        let endpoints = watched.members.iter().map(Member::shown).collect();
        let instead = watched.down.map(|_| destination(snapshot, at));
        Some((backend.name.to_string(), HealthShown { endpoints, instead }))
    };
    let now: BTreeMap<_, _> = snapshot.config.backends.iter().enumerate().filter_map(shown).collect();
    statuses.send_if_modified(|status| {
        let differs = *status.health != now;
        if differs {
            status.health = Arc::new(now);
        }
        differs
    });
}
