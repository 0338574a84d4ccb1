//! The look at memory, on the control thread: reads what is used, tells workers, metrics and the log.
//!
//! `app` starts it. It must never wait for anything but its own clock: what it tells is needed most when all else is
//! slow.

use std::thread;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config::limits::{MEMORY_LOOK, MEMORY_PATIENCE_LEAST, MEMORY_TRIM};
use crate::memory::limit::{Outside, resident};
use crate::memory::rules::{self, Rules};
use crate::memory::{Level, Telling};
use crate::snapshot::publish::Published;
use crate::telemetry::events::Event;
use crate::telemetry::metrics::Metrics;

/// Looks for ever.
pub async fn watch(published: Published, telling: Telling, metrics: Metrics) {
    let outside = Outside::find();
    tell_room(&published, outside.as_ref());
    let mut rules = Rules::default();
    let mut level = Level::Calm;
    let began = Instant::now();
    let (mut trimmed, mut looked) = (began, began);
    let mut ticks = interval(MEMORY_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let limit = bound(published.current().config.limits.memory, outside.as_ref());
        metrics.memory(limit, level as u8);
        if trimmed.elapsed() >= MEMORY_TRIM {
            trimmed = Instant::now();
            trim();
        }
        let Some(limit) = limit else { continue };
        let Some(used) = used(outside.as_ref()) else { continue };
        let (now, patience) = rules.look(used, limit, began.elapsed());
        // Whoever stands still since the last time goes now.
        let look = patience.is_some() && looked.elapsed() >= MEMORY_PATIENCE_LEAST;
        if look {
            looked = Instant::now();
        }
        telling.tell(now, patience, look);
        if now != level {
            level = now;
            metrics.memory(Some(limit), level as u8);
            Event::Memory { level: level.as_str(), used, limit }.log();
        }
    }
}

/// Says at start where not every connection that may come has room.
fn tell_room(published: &Published, outside: Option<&Outside>) {
    let limits = published.current().config.limits;
    let Some(limit) = bound(limits.memory, outside) else { return };
    let fit = rules::fit(limit);
    if fit < limits.connections {
        Event::MemoryRoom { connections: limits.connections, fit, limit }.log();
    }
}

/// How much there may be: what the configuration says, and never more than what is found.
fn bound(said: Option<u64>, outside: Option<&Outside>) -> Option<u64> {
    said.into_iter().chain(outside.map(|outside| outside.limit)).min()
}

/// The larger of our own figure and the cgroup's, which has the kernel's share.
fn used(outside: Option<&Outside>) -> Option<u64> {
    resident().into_iter().chain(outside.and_then(Outside::used)).max()
}

/// Has the allocator give back what it kept: it does so when a thread ends, and else only for threads that go on
/// allocating much.
fn trim() {
    let touch = || drop(std::hint::black_box(Box::new(Duration::ZERO)));
    // Where there is no thread to be had, it is tried again with the next.
    let _ = thread::Builder::new().name("trim".to_owned()).stack_size(64 * 1024).spawn(touch);
}
