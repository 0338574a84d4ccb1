//! One route of the live view, whole or in a line.
//!
//! `page` sets them below each other. It must never show two backends on different scales.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::admin::types::{BackendStatus, RouteStatus};
use crate::cli::facts::{Fact, facts, marks, place, weight};
use crate::cli::figures::{percent, plain, rate, share};
use crate::cli::watch::desk::Desk;
use crate::cli::watch::traces::{Figure, Traces};

/// How many lines a whole route takes.
pub(super) const WHOLE: usize = 10;
/// Where the figures begin.
const NAMES: usize = 15;
/// How narrow a backend's column may get before others have to go.
const SIDE: usize = 28;

/// What matters.
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// What can be overlooked.
pub(super) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
/// What isn't well.
pub(super) const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// A route of the view.
pub(super) struct Shown<'a> {
    /// As it is.
    pub(super) route: &'a RouteStatus,
    /// Its last minute.
    pub(super) traces: &'a Traces,
    /// What is chosen, where it is this one.
    pub(super) desk: Option<&'a Desk>,
    /// How wide the view is.
    pub(super) width: usize,
}

impl<'a> Shown<'a> {
    /// Its lines, [`WHOLE`] of them.
    pub(super) fn whole(&self) -> Vec<Line<'static>> {
        let (backends, hidden) = self.fitting();
        let side = (self.width.saturating_sub(NAMES)) / backends.len().max(1);
        let mut rows: Vec<Line<'static>> = vec![self.head(hidden)];
        let columns: Vec<Vec<Vec<Span<'static>>>> =
            backends.iter().map(|backend| self.column(backend, side.saturating_sub(2))).collect();
        let names = ["", "weight", "health", "requests/s", "errors", "p50", "p95", "p99", "in flight"];
        for (row, name) in names.into_iter().enumerate() {
            let mut line = padded(vec![Span::styled(format!("   {name}"), FAINT)], NAMES);
            for column in &columns {
                line.extend(padded(column[row].clone(), side.saturating_sub(2)));
                line.push(Span::raw("  "));
            }
            rows.push(Line::from(line));
        }
        rows
    }

    /// The same in one line.
    pub(super) fn line(&self) -> Line<'static> {
        let mut line = padded(vec![self.name()], NAMES);
        for mark in self.marks() {
            line.push(Span::styled(format!("[{mark}] "), BAD));
        }
        for (place, backend) in self.route.backends.iter().enumerate() {
            line.push(Span::styled(if place == 0 { "" } else { " | " }, FAINT));
            line.push(Span::styled(plain(&backend.name), self.ink(backend)));
            line.push(Span::styled(format!(" {}", percent(backend.weight)), BOLD));
            let alarms = facts(backend).into_iter().filter(|fact| fact.alarm);
            line.extend(alarms.map(|fact| Span::styled(format!(" {}", short(&fact)), BAD)));
        }
        let total: f64 = self.route.backends.iter().map(|backend| backend.requests_per_second).sum();
        line.push(Span::styled(format!("  {} requests/s", rate(total)), FAINT));
        Line::from(line)
    }

    /// Stable and the backends beside it that there is room for, the chosen one among them; how many are left out.
    fn fitting(&self) -> (Vec<&'a BackendStatus>, usize) {
        let all = &self.route.backends;
        let room = ((self.width.saturating_sub(NAMES)) / SIDE).max(2);
        let chosen = self.desk.and_then(|desk| desk.backend(self.route)).map(|backend| &backend.name);
        let must =
            |backend: &BackendStatus| backend.name == self.route.stable || Some(&backend.name) == chosen;
        let mut spare = room.saturating_sub(all.iter().filter(|backend| must(backend)).count());
        let mut fits = |backend: &BackendStatus| {
            let taken = must(backend) || spare > 0;
            spare -= usize::from(taken && !must(backend));
            taken
        };
        let shown: Vec<_> = all.iter().filter(|backend| fits(backend)).collect();
        let hidden = all.len() - shown.len();
        (shown, hidden)
    }

    fn head(&self, hidden: usize) -> Line<'static> {
        // What may be cut off at the right comes last: a route may have many hosts.
        let mut line = vec![self.name()];
        for mark in self.marks() {
            line.push(Span::raw("  "));
            line.push(Span::styled(format!("[{mark}]"), BAD));
        }
        if hidden > 0 {
            line.push(Span::styled(format!("  {hidden} more: Tab"), BOLD));
        }
        line.push(Span::styled(format!("  {}", place(self.route)), FAINT));
        Line::from(line)
    }

    fn name(&self) -> Span<'static> {
        let (sign, style) = if self.desk.is_some() { ("▶", BOLD) } else { (" ", BOLD) };
        Span::styled(format!(" {sign} {}", plain(&self.route.name)), style)
    }

    fn marks(&self) -> Vec<&'static str> {
        marks(self.route)
    }

    fn ink(&self, backend: &BackendStatus) -> Style {
        let colour = if backend.name == self.route.stable { Color::Magenta } else { Color::Cyan };
        Style::new().fg(colour).add_modifier(Modifier::BOLD)
    }

    /// A backend from top to bottom.
    fn column(&self, backend: &BackendStatus, width: usize) -> Vec<Vec<Span<'static>>> {
        let is_stable = backend.name == self.route.stable;
        let chosen = self.desk.is_some_and(|desk| desk.backend(self.route) == Some(backend));
        let role = match (is_stable, chosen) {
            (true, _) => "  stable",
            (false, true) => "  ◀ ▶",
            (false, false) => "",
        };
        let mut cells = vec![
            vec![Span::styled(plain(&backend.name), self.ink(backend)), Span::styled(role, FAINT)],
            self.weight(backend, width),
        ];
        for fact in facts(backend) {
            let figure = match fact.name {
                "requests/s" => Some(Figure::Rate),
                "errors" => Some(Figure::Errors),
                "p95" => Some(Figure::P95),
                _ => None,
            };
            let text = Span::styled(fact.text, if fact.alarm { BAD } else { Style::new() });
            let mut cell = vec![text];
            if let Some(figure) = figure {
                cell = padded(cell, 9);
                let chart =
                    self.traces.drawn(&self.route.name, &backend.name, figure, width.saturating_sub(9));
                cell.push(Span::styled(chart, self.ink(backend).remove_modifier(Modifier::BOLD)));
            }
            cells.push(cell);
        }
        cells
    }

    /// Its share, with what is being chosen, and a bar.
    fn weight(&self, backend: &BackendStatus, width: usize) -> Vec<Span<'static>> {
        let drafted = self.drafted(backend);
        let style = if drafted.is_some() { BOLD.add_modifier(Modifier::REVERSED) } else { BOLD };
        // All bars of a route begin in the same column, so that their lengths say the same.
        let wide = self.route.backends.iter().map(|other| self.share(other).chars().count());
        let wide = wide.max().unwrap_or(0).max(8) + 1;
        let text = Span::styled(self.share(backend), style);
        let mut cell = vec![text.clone(), Span::raw(" ".repeat(wide.saturating_sub(text.width())))];
        let shown = drafted.unwrap_or(backend.weight) / 100.0;
        let (full, rest) = bar(shown, width.saturating_sub(wide).min(60));
        cell.push(Span::styled(full, self.ink(backend).remove_modifier(Modifier::BOLD)));
        cell.push(Span::styled(rest, FAINT));
        cell
    }

    /// Its share in words.
    fn share(&self, backend: &BackendStatus) -> String {
        match self.drafted(backend) {
            Some(draft) => format!("{} -> {} ?", share(backend.weight), percent(draft)),
            None => weight(backend),
        }
    }

    /// What a backend would have by the share that is being chosen.
    fn drafted(&self, backend: &BackendStatus) -> Option<f64> {
        let draft = self.desk?.draft()?;
        let chosen = self.desk?.backend(self.route)?;
        if backend.name == chosen.name {
            return Some(draft);
        }
        (backend.name == self.route.stable).then_some(backend.weight + chosen.weight - draft)
    }
}

/// Blanks up to a width; what is longer is cut off, so that nothing runs into its neighbour.
pub(super) fn padded(mut spans: Vec<Span<'static>>, width: usize) -> Vec<Span<'static>> {
    let mut left = width;
    for span in &mut spans {
        if span.width() > left {
            span.content = span.content.chars().take(left).collect();
        }
        left -= span.width().min(left);
    }
    spans.push(Span::raw(" ".repeat(left)));
    spans
}

/// A bar to the eighth of a column, and what is left of it.
fn bar(share: f64, width: usize) -> (String, String) {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let full = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    let rest = "·".repeat(width - eighths.div_ceil(8));
    (full, rest)
}

/// An alarm where there is little room.
fn short(fact: &Fact) -> String {
    match fact.name {
        "health" => "DOWN".to_owned(),
        name => format!("{name} {}", fact.text),
    }
}
