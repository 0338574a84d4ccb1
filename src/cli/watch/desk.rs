//! What keys do in the live view. Every change is asked about before it is sent.
//!
//! The live view presses keys on it and sends what it decides. It must never send what wasn't confirmed by `y`, nor
//! anything else than what the question said.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::admin::types::{BackendStatus, RouteStatus, Status};
use crate::cli::figures::{change, plain, share};
use crate::control::command::{CommandBody, CommandName};
use crate::control::record::Record;

/// What is chosen, and what is asked.
#[derive(Debug, Default)]
pub(super) struct Desk {
    route: String,
    backend: String,
    draft: Option<f64>,
    question: Option<Question>,
}

/// What is to be confirmed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    /// In words, without the question mark.
    pub(super) words: String,
    body: CommandBody,
}

/// What a key comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Ask the proxy for this.
    Send(Box<CommandBody>),
    /// Say this.
    Say(&'static str),
    /// End.
    Quit,
}

impl Desk {
    /// A key, with what is shown at the time.
    pub(super) fn press(&mut self, key: KeyEvent, status: &Status) -> Option<Effect> {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Some(Effect::Quit);
        }
        match self.question.take() {
            Some(question) => self.answer(key, question),
            None => self.steer(key, status),
        }
    }

    /// The route that is chosen; the first where that is gone.
    pub(super) fn route<'s>(&self, status: &'s Status) -> Option<&'s RouteStatus> {
        status.routes.iter().find(|route| route.name == self.route).or(status.routes.first())
    }

    /// The backend whose share is chosen: never stable.
    pub(super) fn backend<'s>(&self, route: &'s RouteStatus) -> Option<&'s BackendStatus> {
        let mut others = route.backends.iter().filter(|backend| backend.name != route.stable);
        others.clone().find(|backend| backend.name == self.backend).or(others.next())
    }

    /// The share that is being chosen for it.
    pub(super) fn draft(&self) -> Option<f64> {
        self.draft
    }

    /// What is asked now.
    pub(super) fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    fn answer(&mut self, key: KeyEvent, question: Question) -> Option<Effect> {
        match key.code {
            KeyCode::Char('y' | 'Y') => {
                self.draft = None;
                Some(Effect::Send(Box::new(question.body)))
            }
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => {
                self.draft = None;
                Some(Effect::Say("nothing was changed"))
            }
            _ => {
                self.question = Some(question);
                None
            }
        }
    }

    fn steer(&mut self, key: KeyEvent, status: &Status) -> Option<Effect> {
        let step = if key.modifiers.contains(KeyModifiers::SHIFT) { 10.0 } else { 1.0 };
        match key.code {
            KeyCode::Char('q') => return Some(Effect::Quit),
            KeyCode::Up => self.go(status, -1),
            KeyCode::Down => self.go(status, 1),
            KeyCode::Tab => self.next_backend(status),
            KeyCode::Left => self.choose(status, -step),
            KeyCode::Right => self.choose(status, step),
            // Where `+` is with the shift key, it is still one step.
            KeyCode::Char('-') => self.choose(status, -1.0),
            KeyCode::Char('+' | '=') => self.choose(status, 1.0),
            KeyCode::Char('<') | KeyCode::PageDown => self.choose(status, -10.0),
            KeyCode::Char('>') | KeyCode::PageUp => self.choose(status, 10.0),
            KeyCode::Esc => self.draft = None,
            KeyCode::Enter => return self.ask_shift(status),
            KeyCode::Char('r') => self.ask_rollback(status),
            KeyCode::Char('R') => self.ask_rollback_of_all(status),
            KeyCode::Char('u') => self.ask_undo(status),
            _ => {}
        }
        None
    }

    fn go(&mut self, status: &Status, by: isize) {
        let now = self.route(status).map(|route| &route.name);
        let place = status.routes.iter().position(|route| Some(&route.name) == now).unwrap_or(0);
        let last = status.routes.len().saturating_sub(1);
        if let Some(route) = status.routes.get(place.saturating_add_signed(by).min(last)) {
            if Some(&route.name) != now {
                (self.backend, self.draft) = (String::new(), None);
            }
            self.route.clone_from(&route.name);
        }
    }

    fn next_backend(&mut self, status: &Status) {
        let Some(route) = self.route(status) else { return };
        let names: Vec<&String> = route
            .backends
            .iter()
            .map(|backend| &backend.name)
            .filter(|name| **name != route.stable)
            .collect();
        let now = self.backend(route).map(|backend| &backend.name);
        let place = names.iter().position(|name| Some(*name) == now).unwrap_or(0);
        if let Some(name) = names.get((place + 1) % names.len().max(1)) {
            self.backend = (*name).clone();
            self.draft = None;
        }
    }

    /// By whole percents, between none and all that stable has.
    fn choose(&mut self, status: &Status, step: f64) {
        let Some(route) = self.route(status) else { return };
        let Some(backend) = self.backend(route) else { return };
        let stable = route.backends.iter().find(|other| other.name == route.stable);
        let most = backend.weight + stable.map_or(0.0, |stable| stable.weight);
        let wanted = self.draft.unwrap_or(backend.weight) + step;
        let whole = if step > 0.0 { (wanted + 1e-6).floor() } else { (wanted - 1e-6).ceil() };
        let draft = whole.min(most).max(0.0);
        self.draft = ((draft - backend.weight).abs() > 1e-6).then_some(draft);
        // What is chosen stays chosen, also when another route becomes the first.
        (self.route, self.backend) = (route.name.clone(), backend.name.clone());
    }

    fn ask_shift(&mut self, status: &Status) -> Option<Effect> {
        let route = self.route(status)?;
        let backend = self.backend(route)?;
        let Some(draft) = self.draft else {
            return Some(Effect::Say("choose another share first, by the left and right arrows"));
        };
        let (name, of) = (plain(&backend.name), plain(&route.name));
        self.question = Some(Question {
            words: format!("shift {of}: {name} {} -> {} %", share(backend.weight), share(draft)),
            body: CommandBody {
                route: Some(route.name.clone()),
                backend: Some(backend.name.clone()),
                percent: Some(draft),
                if_revision: Some(status.revision),
                ..CommandBody::of(CommandName::Shift)
            },
        });
        None
    }

    /// Whatever is live by then: nobody else's change may stand in its way.
    fn ask_rollback(&mut self, status: &Status) {
        let Some(route) = self.route(status) else { return };
        let words =
            format!("roll back {}: everything to {} at once", plain(&route.name), plain(&route.stable));
        let body = CommandBody { route: Some(route.name.clone()), ..CommandBody::of(CommandName::Rollback) };
        (self.draft, self.question) = (None, Some(Question { words, body }));
    }

    fn ask_rollback_of_all(&mut self, status: &Status) {
        let names: Vec<String> = status.routes.iter().map(|route| plain(&route.name)).collect();
        let words = format!("roll back EVERY route ({}): everything to stable at once", names.join(", "));
        let body = CommandBody::of(CommandName::Rollback);
        (self.draft, self.question) = (None, Some(Question { words, body }));
    }

    /// Named where it is known, so that what is undone is what was read.
    fn ask_undo(&mut self, status: &Status) {
        let last = last_to_undo(&status.history);
        let words = match last {
            Some(record) => format!("undo revision {}, {}", record.revision, plain(&summary(record))),
            None => "undo the last change by a command".to_owned(),
        };
        let body = CommandBody {
            revision: last.map(|record| record.revision),
            if_revision: Some(status.revision),
            ..CommandBody::of(CommandName::Undo)
        };
        (self.draft, self.question) = (None, Some(Question { words, body }));
    }
}

/// What a revision was, in one line.
pub(super) fn summary(record: &Record) -> String {
    let changes: Vec<String> = record.changes.iter().map(change).collect();
    let changes = if changes.is_empty() { String::new() } else { format!(" ({})", changes.join("; ")) };
    format!("{} by {}{changes}", record.command, record.actor)
}

/// The last change by a command that isn't undone yet, of records with the newest first.
fn last_to_undo(history: &[Record]) -> Option<&Record> {
    let mut below = u64::MAX;
    history.iter().find(|record| {
        if let Some(undone) = record.undoes.filter(|_| record.revision < below) {
            below = below.min(undone);
        }
        let by_command = matches!(record.via.as_str(), "socket" | "admin");
        by_command && record.undoes.is_none() && record.revision < below && !record.changes.is_empty()
    })
}
