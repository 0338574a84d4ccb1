//! One endpoint as the control thread watches it: who asks it, what was found, and what has been told of it.
//!
//! `watch` keeps one for each endpoint of each backend. It must never outlive its endpoint's place in the
//! configuration: with it, whoever asks ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::control::status::{EndpointShown, EndpointState};
use crate::health::ejection::{Cause, Seen};
use crate::health::prober::{ask_on, knock_on};
use crate::health::question::{Finding, Question};
use crate::health::vitals::{Mark, Vitals};
use crate::proxy::error::Failure;
use crate::telemetry::events::{Event, HealthEvent};
use crate::telemetry::metrics::Metrics;
use crate::upstream::endpoint::Endpoint;

/// One endpoint, watched.
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    asking: Option<(Question, Task)>,
    knocking: Option<(Question, Task)>,
    found: Rc<RefCell<Option<Finding>>>,
    /// Why it was left out last, and for how long.
    ejected: Option<(Cause, Duration)>,
    /// What was told last.
    state: EndpointState,
    since: Instant,
    clock: jiff::Timestamp,
    why: String,
}

impl Member {
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            asking: None,
            knocking: None,
            found: Rc::default(),
            ejected: None,
            state: EndpointState::Up,
            since: Instant::now(),
            clock: jiff::Timestamp::now(),
            why: String::new(),
        }
    }

    /// Has it asked as `question` says from now on, where it isn't already.
    pub(super) fn ask(&mut self, backend: &str, question: Question, metrics: &Metrics, alarm: &Arc<Notify>) {
        if self.asking.as_ref().is_some_and(|(before, _)| *before == question) {
            return;
        }
        self.asking = None;
        self.found.replace(None);
        match question.probe.clone() {
            None => drop(self.vitals().mark(Mark::Down, false)),
            Some(probe) => {
                let report = self.report(backend, metrics, alarm);
                let asking = ask_on(Arc::clone(&self.endpoint), question.clone(), probe, report);
                self.asking = Some((question, Task(tokio::task::spawn_local(asking))));
            }
        }
    }

    /// Has it knocked at for as long as it can't be connected to.
    pub(super) fn knock(&mut self, question: Question) {
        if !self.vitals().has(Mark::Unreached) {
            self.knocking = None;
        } else if self.knocking.as_ref().is_none_or(|(before, _)| *before != question) {
            let knocking = knock_on(Arc::clone(&self.endpoint), question.clone());
            self.knocking = Some((question, Task(tokio::task::spawn_local(knocking))));
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let (streak, answers, failures) = self.vitals().counts();
        let down = self.vitals().has(Mark::Down) || self.vitals().has(Mark::Unreached);
        Seen { id: self.endpoint.id, streak, answers, failures, down }
    }

    /// It is left out for a while.
    pub(super) fn eject(&mut self, cause: Cause, lasts: Duration) {
        self.ejected = Some((cause, lasts));
        self.vitals().begin_anew();
    }

    /// Tells what has changed.
    pub(super) fn tell(&mut self, backend: &str) {
        let state = self.state_now();
        if state == self.state {
            return;
        }
        let (was, out) = (self.state.as_str(), self.since.elapsed());
        (self.state, self.since, self.clock) = (state, Instant::now(), jiff::Timestamp::now());
        self.why = self.why_now();
        let (endpoint, why) = (&self.endpoint.url, self.why.as_str());
        let event = match state {
            EndpointState::Up => HealthEvent::EndpointUp { backend, endpoint, was, out },
            EndpointState::Down => HealthEvent::EndpointDown { backend, endpoint, why },
            EndpointState::Unreachable => HealthEvent::EndpointUnreachable { backend, endpoint, why },
            EndpointState::Ejected => {
                let lasts = self.ejected.map_or(Duration::ZERO, |(_, lasts)| lasts);
                HealthEvent::EndpointEjected { backend, endpoint, why, lasts }
            }
        };
        Event::from(event).log();
    }

    pub(super) fn shown(&self) -> EndpointShown {
        let is_out = self.state != EndpointState::Up;
        EndpointShown {
            url: self.endpoint.url.to_string(),
            state: self.state,
            since: is_out.then_some(self.clock),
            why: is_out.then(|| self.why.clone()),
            probe: self.found.borrow().as_ref().map(ToString::to_string),
        }
    }

    fn vitals(&self) -> &Vitals {
        &self.endpoint.vitals
    }

    fn state_now(&self) -> EndpointState {
        match self.vitals() {
            vitals if vitals.has(Mark::Down) => EndpointState::Down,
            vitals if vitals.has(Mark::Ejected) => EndpointState::Ejected,
            vitals if vitals.has(Mark::Unreached) => EndpointState::Unreachable,
            _ => EndpointState::Up,
        }
    }

    fn why_now(&self) -> String {
        match self.state {
            EndpointState::Up => String::new(),
            EndpointState::Down => {
                let path = self.asking.as_ref().and_then(|(question, _)| question.probe.as_ref());
                let path = path.map_or("/", |probe| probe.path.as_str());
                let found = self.found.borrow().as_ref().map(ToString::to_string).unwrap_or_default();
                format!("GET {path}: {found}")
            }
            EndpointState::Ejected => {
                let last = self.vitals().last_failure().shown(&Failure::REASONS);
                match self.ejected {
                    Some((Cause::Streak(streak), _)) => {
                        format!("{streak} gateway failures in a row, the last: {last}")
                    }
                    Some((Cause::Share(failures, answers), _)) => {
                        format!("{failures} gateway failures among {answers} answers, the last: {last}")
                    }
                    None => last,
                }
            }
            EndpointState::Unreachable => {
                let last = self.vitals().last_failure().shown(&Failure::REASONS);
                format!(
                    "{} connections in a row failed, the last: {last}",
                    self.vitals().unreached_in_a_row()
                )
            }
        }
    }

    /// What is done with each finding.
    fn report(
        &self,
        backend: &str,
        metrics: &Metrics,
        alarm: &Arc<Notify>,
    ) -> impl Fn(Finding, crate::health::probe::Course) + 'static {
        let (backend, metrics, alarm) = (backend.to_owned(), metrics.clone(), Arc::clone(alarm));
        let (endpoint, found) = (Arc::clone(&self.endpoint), Rc::clone(&self.found));
        move |finding, course| {
            metrics.backend(&backend).probed(finding.is_good());
            if finding.is_good() {
                endpoint.vitals.reached();
            }
            let is_new = found.borrow().as_ref() != Some(&finding);
            if is_new && matches!(finding, Finding::ToHttps(_)) {
                let (backend, endpoint) = (backend.as_str(), &endpoint.url);
                Event::from(HealthEvent::SentToHttps { backend, endpoint }).log();
            }
            found.replace(Some(finding));
            if endpoint.vitals.mark(Mark::Down, course.is_down()) || is_new {
                alarm.notify_one();
            }
        }
    }
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
