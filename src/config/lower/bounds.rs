//! `[limits]`, `[timeouts]` and the capacity of a backend: what the file says over the defaults of `limits`.
//!
//! `lower` calls it. It must never let a bound be switched off: each has a least and a most.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::file::{Section, Value};
use crate::config::kinds;
use crate::config::limits::{self, Capacity, Limits, Timeouts};
use crate::config::problem::{Fault, Notes};

/// `[limits]`.
pub(in crate::config) fn limits(file: &mut Section<'_>, notes: &mut Notes<'_>) -> Limits {
    let default = Limits::default();
    let mut section = file.section("limits", notes);
    let head_size = bytes(&mut section, "head_size", limits::HEAD_SIZE, notes).unwrap_or(default.head_size);
    let target_size = bytes(&mut section, "target_size", limits::TARGET_SIZE, notes);
    if let Some(target_size) = target_size.filter(|&size| size > head_size) {
        let message = format!("`target_size` is larger than `head_size`: {target_size} > {head_size} bytes");
        let remedy = "the target is a part of the head: raise `head_size` or lower `target_size`";
        notes.wrong(&section.at_of("target_size"), Fault::new(message, remedy));
    }
    let header_count = section.read("header_count", notes, kinds::whole(limits::HEADER_COUNT));
    let body_size = section.read("body_size", notes, kinds::size(1..=u64::MAX));
    let replay_size = bytes(&mut section, "replay_size", limits::REPLAY_SIZE, notes);
    let min_rate = section.read("min_rate", notes, kinds::size(limits::MIN_RATE));
    let connections = section.read("connections", notes, kinds::whole(limits::CONNECTIONS));
    let pool_idle = section.read("pool_idle", notes, kinds::whole(limits::POOL_IDLE_COUNT));
    let memory = section.read("memory", notes, kinds::size(limits::MEMORY));
    section.finish(notes);
    Limits {
        head_size,
        target_size: target_size.unwrap_or(default.target_size.min(head_size)),
        header_count: header_count.unwrap_or(default.header_count),
        body_size: body_size.or(default.body_size),
        replay_size: replay_size.unwrap_or(default.replay_size),
        min_rate: min_rate.unwrap_or(default.min_rate),
        connections: connections.unwrap_or(default.connections),
        pool_idle: pool_idle.unwrap_or(default.pool_idle),
        memory: memory.or(default.memory),
    }
}

/// `[timeouts]`.
pub(in crate::config) fn timeouts(file: &mut Section<'_>, notes: &mut Notes<'_>) -> Timeouts {
    let default = Timeouts::default();
    let mut section = file.section("timeouts", notes);
    let mut read = |key, default| waiting(&mut section, key, notes).unwrap_or(default);
    let timeouts = Timeouts {
        request_head: read("request_head", default.request_head),
        keep_alive: read("keep_alive", default.keep_alive),
        idle_body: read("idle_body", default.idle_body),
        request: read("request", default.request),
        tunnel_idle: read("tunnel_idle", default.tunnel_idle),
    };
    section.finish(notes);
    timeouts
}

/// How much a backend is asked at a time.
pub(in crate::config) fn capacity(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Capacity {
    let default = Capacity::default();
    let in_flight = section.read("max_in_flight", notes, kinds::whole(limits::IN_FLIGHT));
    let queue = section.read("max_queue", notes, kinds::whole(limits::QUEUE));
    let queue_timeout = waiting(section, "queue_timeout", notes);
    let adaptive = section.read("adaptive_concurrency", notes, Value::flag);
    Capacity {
        in_flight: in_flight.unwrap_or(default.in_flight),
        queue: queue.unwrap_or(default.queue),
        queue_timeout: queue_timeout.unwrap_or(default.queue_timeout),
        adaptive: adaptive.unwrap_or(default.adaptive),
    }
}

/// A wait of at least a millisecond and at most a week: nothing waits for ever.
pub(in crate::config) fn waiting(
    section: &mut Section<'_>,
    key: &'static str,
    notes: &mut Notes<'_>,
) -> Option<Duration> {
    section.read(key, notes, kinds::duration(limits::SHORTEST..=limits::LONGEST))
}

/// A size that fits the memory's addresses.
fn bytes(
    section: &mut Section<'_>,
    key: &'static str,
    allowed: RangeInclusive<u64>,
    notes: &mut Notes<'_>,
) -> Option<usize> {
    section.read(key, notes, kinds::size(allowed)).and_then(|size| usize::try_from(size).ok())
}
