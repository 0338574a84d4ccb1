//! `crossfade status --watch`: the live view on a terminal, and the keys that steer from it.
//!
//! `status` calls it. It must never leave a terminal changed, nor show what is old as if it were new.

mod desk;
mod events;
mod link;
mod page;
mod route;
mod scene;
mod terminal;
#[cfg(test)]
mod tests;
mod traces;

use std::io;
use std::pin::pin;
use std::time::Instant;

use ratatui::crossterm::event::{Event, KeyEventKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::types::Status;
use crate::cli::asking::actor;
use crate::cli::client::{Client, Trouble};
use crate::cli::figures::change;
use crate::cli::paint::is_unwanted;
use crate::config::limits::WATCH_RETRY;
use crate::control::command::{Applied, CommandBody};
use desk::Effect;
use scene::Scene;
use terminal::Screen;

/// What the view waits for, from one channel.
const QUEUE: usize = 64;

/// Why the view ended, if not because it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// Nobody looks at it.
    #[error("--watch draws on a terminal, and this isn't one; leave it out, or ask for --json")]
    NoTerminal,
    /// The proxy says no, or isn't there at all.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// The terminal is gone.
    #[error("can't draw on the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// What can happen.
#[derive(Debug)]
enum Happening {
    Terminal(io::Result<Event>),
    Outcome(Box<Result<Applied, Trouble>>),
}

/// Shows the proxy until somebody has seen enough.
pub(super) fn watch(client: &Client) -> Result<(), Ended> {
    if !terminal::is_there() {
        return Err(Ended::NoTerminal);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        // Before the terminal is taken: who can't reach the proxy reads why as an ordinary line.
        let first = client.view::<Status>("/api/v1/status").await?;
        let scene = Scene::new(client.place().to_string(), !is_unwanted(), first.value, Instant::now());
        run(client, scene).await
    });
    runtime.shutdown_background();
    ended
}

async fn run(client: &Client, mut scene: Scene) -> Result<(), Ended> {
    let (mut end, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let (mut interrupt, mut quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
    let mut screen = Screen::take()?;
    let (happen, mut happenings) = channel(QUEUE);
    let (tell, mut news) = channel(QUEUE);
    terminal::read_keys(happen.clone())?;
    let mut link = pin!(link::follow(client, tell));
    let mut clock = interval(WATCH_RETRY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        screen.draw(&scene, Instant::now())?;
        tokio::select! {
            trouble = &mut link => return Err(trouble.into()),
            Some(news) = news.recv() => scene.learn(news, Instant::now()),
            Some(happening) = happenings.recv() => {
                if let Some(effect) = met(&mut scene, happening)? {
                    match effect {
                        Effect::Quit => return Ok(()),
                        Effect::Say(words) => scene.say(words, false),
                        Effect::Send(body) => order(client, *body, &mut scene, happen.clone()),
                    }
                }
            }
            _ = clock.tick() => {}
            () = first_of([&mut end, &mut hang_up, &mut interrupt, &mut quit]) => return Ok(()),
        }
    }
}

fn met(scene: &mut Scene, happening: Happening) -> Result<Option<Effect>, Ended> {
    match happening {
        Happening::Terminal(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => Ok(scene.press(key)),
        // Of another size, it is drawn anew; whatever else it tells is nothing to us.
        Happening::Terminal(Ok(_)) => Ok(None),
        Happening::Terminal(Err(error)) => Err(error.into()),
        Happening::Outcome(outcome) => {
            match *outcome {
                Ok(applied) => scene.say(&told_in_short(&applied), false),
                Err(trouble @ Trouble::Absent { .. }) => scene.say_absent(&trouble.to_string()),
                Err(trouble) => scene.say(&trouble.to_string(), true),
            }
            Ok(None)
        }
    }
}

/// What is live and what to know of it; what has changed is seen above as well.
fn told_in_short(applied: &Applied) -> String {
    let live = match applied.changes.is_empty() {
        true => format!("nothing to change, revision {} is live", applied.revision),
        false => format!("revision {} is live", applied.revision),
    };
    let changes = applied.changes.iter().map(change);
    [live].into_iter().chain(applied.notes.iter().cloned()).chain(changes).collect::<Vec<_>>().join("; ")
}

/// Asks beside the drawing: a rollback never waits for the answer to a shift.
fn order(client: &Client, body: CommandBody, scene: &mut Scene, happen: Sender<Happening>) {
    scene.say("asked; waiting until it is live", false);
    let client = client.clone();
    let body = CommandBody { actor: actor(), ..body };
    tokio::spawn(async move {
        let outcome = client.order(&body).await.map(|answer| answer.value);
        // Nobody is left to tell where the view has ended.
        let _ = happen.send(Happening::Outcome(Box::new(outcome))).await;
    });
}

async fn first_of(signals: [&mut Signal; 4]) {
    let [a, b, c, d] = signals;
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
        _ = c.recv() => {}
        _ = d.recv() => {}
    }
}
