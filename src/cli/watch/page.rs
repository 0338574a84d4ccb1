//! The whole live view, set on a terminal of any size.
//!
//! `terminal` draws it. Whatever there is no room for, the warnings, the chosen route, the question and the keys must
//! never be what is missing.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::cli::facts::{uptime, warnings};
use crate::cli::figures::{moment, plain, span};
use crate::cli::history::Row;
use crate::cli::watch::desk::summary;
use crate::cli::watch::route::{BAD, BOLD, FAINT, Shown, WHOLE, padded};
use crate::cli::watch::scene::Scene;

/// Lines for what was changed last, at least, with their heading.
const CHANGES: usize = 4;
/// Lines that a question or a message may take.
const SAID: usize = 3;
/// Lines that a warning may take: with all of them the chosen route still fits.
const WARNED: usize = 2;
const KEYS: &str = " ↑↓ route  ←→ share, shift: by 10  Enter  r rollback  R all  u undo  q quit";
const SHORT_KEYS: &str = " ↑↓ ←→ Enter  r rollback  R all  u undo  q quit";
const ANSWERS: &str = " y do it   n leave it";

/// Draws it.
pub(super) fn draw(scene: &Scene, now: Instant, area: Rect, buffer: &mut Buffer) {
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let foot = foot(scene, width);
    let mut lines = top(scene, now, width);
    lines.truncate(height.saturating_sub(foot.len()));
    let room = height.saturating_sub(lines.len() + foot.len());
    // What is old is paler than what is new.
    let style = if scene.stale(now).is_some() { FAINT } else { Style::new() };
    lines.extend(middle(scene, width, room).into_iter().map(|line| line.patch_style(style)));
    lines.resize_with(height.saturating_sub(foot.len()), Line::default);
    for (line, y) in lines.iter().chain(&foot).zip(area.y..area.bottom()) {
        buffer.set_line(area.x, y, line, area.width);
        if line.width() > width && width > 0 {
            buffer[(area.right() - 1, y)].set_symbol("…");
        }
    }
    if !scene.colour {
        buffer.set_style(area, Style::new().fg(Color::Reset).bg(Color::Reset));
    }
}

/// Who and where, and what must be known before anything else.
fn top(scene: &Scene, now: Instant, width: usize) -> Vec<Line<'static>> {
    let status = &scene.status;
    let time = format!("{} UTC ", moment(&status.at).chars().skip(11).collect::<String>());
    let title = vec![
        Span::styled(format!(" Crossfade  revision {}", status.revision), BOLD),
        Span::styled(format!("  {}  {}", uptime(status), plain(&scene.place)), FAINT),
    ];
    let mut title = padded(title, width.saturating_sub(time.len() + 1));
    title.push(Span::raw(format!(" {time}")));
    let mut lines = vec![Line::from(title)];
    // What was wrong when it was heard last may be so no longer.
    let warned = match scene.stale(now) {
        Some((age, why)) => vec![format!("STALE for {}: {why}; trying again", span(age))],
        None => warnings(status),
    };
    for warning in warned {
        lines.extend(wrapped(&format!("! {warning}"), width, WARNED, BAD.add_modifier(Modifier::REVERSED)));
    }
    lines
}

/// The routes, and what was changed last.
fn middle(scene: &Scene, width: usize, room: usize) -> Vec<Line<'static>> {
    let count = scene.status.routes.len();
    let all_fit = count * (WHOLE + 1) + CHANGES <= room;
    let mut lines = if all_fit { every_route(scene, width) } else { chosen_route(scene, width, room) };
    let left = room.saturating_sub(lines.len());
    lines.extend(changes(scene, width, left));
    lines.truncate(room);
    lines
}

fn every_route(scene: &Scene, width: usize) -> Vec<Line<'static>> {
    let places = 0..scene.status.routes.len();
    places.flat_map(|place| shown(scene, place, width).whole().into_iter().chain([Line::default()])).collect()
}

/// The chosen one whole, as many of those around it as there is room for in a line each.
fn chosen_route(scene: &Scene, width: usize, room: usize) -> Vec<Line<'static>> {
    let routes = &scene.status.routes;
    let chosen = scene.desk.route(&scene.status);
    let place = routes.iter().position(|route| Some(route) == chosen).unwrap_or(0);
    let most = room.saturating_sub(WHOLE + CHANGES + 1).max(1).min(routes.len().saturating_sub(1));
    let first = place.saturating_sub(most / 2).min(routes.len().saturating_sub(most + 1));
    let last = (first + most + 1).min(routes.len());
    let mut lines = Vec::new();
    for other in first..last {
        match other == place {
            true => lines.extend(shown(scene, other, width).whole()),
            false => lines.push(shown(scene, other, width).line()),
        }
    }
    let hidden = routes.len() - (last - first);
    if hidden > 0 {
        lines.push(Line::styled(format!("   {hidden} more above and below: ↑↓"), FAINT));
    }
    lines
}

fn shown<'a>(scene: &'a Scene, place: usize, width: usize) -> Shown<'a> {
    let route = &scene.status.routes[place];
    let chosen = scene.desk.route(&scene.status) == Some(route);
    Shown { route, traces: &scene.traces, desk: chosen.then_some(&scene.desk), width }
}

/// The last changes, one a line, below a heading; none where there is no room for one.
fn changes(scene: &Scene, width: usize, room: usize) -> Vec<Line<'static>> {
    let history = &scene.status.history;
    if room < 2 || history.is_empty() {
        return Vec::new();
    }
    let mut lines =
        vec![Line::styled(format!(" ── last changes {}", "─".repeat(width.saturating_sub(17))), FAINT)];
    lines.extend(history.iter().take(room - 1).map(|record| {
        let row = Row::of(record, &scene.status.at);
        let reason = record.reason.as_ref().map_or(String::new(), |reason| format!(" \"{}\"", plain(reason)));
        Line::from(vec![
            Span::styled(format!(" {:>4}  {:>7} ago  ", row.revision, row.ago), FAINT),
            Span::raw(plain(&summary(record))),
            Span::styled(reason, FAINT),
        ])
    }));
    lines
}

/// The question or what was said, and the keys.
fn foot(scene: &Scene, width: usize) -> Vec<Line<'static>> {
    let (said, keys) = match (scene.desk.question(), &scene.message) {
        (Some(question), _) => {
            let style = BOLD.add_modifier(Modifier::REVERSED);
            (wrapped(&format!("{}? y/n", question.words), width, SAID, style), ANSWERS)
        }
        (None, Some((words, bad))) => (wrapped(words, width, SAID, if *bad { BAD } else { BOLD }), KEYS),
        (None, None) => (vec![Line::default()], KEYS),
    };
    let keys = if keys.chars().count() > width { SHORT_KEYS } else { keys };
    said.into_iter().chain([Line::styled(keys, FAINT)]).collect()
}

/// In as many lines as it takes, up to `most`, broken between words.
fn wrapped(text: &str, width: usize, most: usize, style: Style) -> Vec<Line<'static>> {
    let room = width.saturating_sub(2).max(1);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the start");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
        } else {
            last.push_str(if last.is_empty() { "" } else { " " });
            last.push_str(word);
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        let last = lines.last_mut().expect("some are left");
        let kept: String = last.chars().take(room.saturating_sub(2)).collect();
        *last = format!("{kept} …");
    }
    let line = |line: String| Line::from(padded(vec![Span::styled(format!(" {line} "), style)], width));
    lines.into_iter().map(line).collect()
}
