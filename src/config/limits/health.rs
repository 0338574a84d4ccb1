//! The bounds of `[backends.NAME.health]`: how often a backend is asked, and how long an endpoint is left out.
//!
//! Read as the rest of `limits`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Default: between the probes of an endpoint. 10 s as most load balancers; one more request a second from ten
/// proxies.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// What an interval may be: one that is shorter would be a load of its own.
pub const PROBE_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);
/// Default: a probe to the head of its answer, connecting with it.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a timeout may be.
pub const PROBE_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(1);
/// Default: good probes in a row that bring an endpoint back.
pub const PROBE_RISE: u32 = 2;
/// Default: bad probes in a row that take it out. One may be chance, two a restart.
pub const PROBE_FALL: u32 = 3;
/// What either may be.
pub const PROBE_RUN: RangeInclusive<u32> = 1..=100;
/// By how much an interval is longer or shorter, by chance: proxies that were started together don't ask together.
pub const PROBE_JITTER: f64 = 0.1;
/// Bytes of a probe's answer that are read, so that the app can end it as it meant to; beyond, we hang up.
pub const PROBE_BODY: usize = 64 * 1024;
/// Bytes of a probe's path; of the headers that it carries, as many.
pub const PROBE_PATH: usize = 2048;
/// Fields that a probe may be given.
pub const PROBE_HEADERS: usize = 32;
/// Default: gateway failures in a row that take an endpoint out.
pub const EJECT_AFTER: u32 = 5;
/// What that may be; 0 for never.
pub const EJECT_AFTERS: RangeInclusive<u32> = 0..=10_000;
/// Default: the share of failures, in percent, that takes it out.
pub const EJECT_PERCENT: u32 = 50;
/// What that may be; 0 for never.
pub const EJECT_PERCENTS: RangeInclusive<u32> = 0..=100;
/// Default: the answers of the last [`EJECT_SECONDS`] that a share takes to say anything.
pub const EJECT_REQUESTS: u64 = 100;
/// What that may be.
pub const EJECT_REQUESTS_RANGE: RangeInclusive<u64> = 1..=1_000_000;
/// Seconds that the share of failures is taken over.
pub const EJECT_SECONDS: usize = 10;
/// Default: how long the first ejection lasts; each that follows twice as long as the one before.
pub const EJECT_FOR: Duration = Duration::from_secs(10);
/// What that may be.
pub const EJECT_FORS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);
/// The longest ejection, where the first isn't longer already: by then somebody who looks has seen it, and who
/// repairs an app doesn't wait for more.
pub const EJECT_MOST: Duration = Duration::from_mins(5);
/// How often the counts of all endpoints are looked at.
pub const HEALTH_LOOK: Duration = Duration::from_secs(1);
/// An endpoint that can't be connected to is tried again by ourselves, first after so long,
pub const KNOCK_FIRST: Duration = Duration::from_millis(100);
/// then each time after twice as long, up to this: a backend that is back is used within a second.
pub const KNOCK_MOST: Duration = Duration::from_secs(1);
/// Answers that a worker counts by itself before all see them: one write in so many to memory that is shared.
pub const ANSWERS_AT_ONCE: u32 = 32;
/// Addresses of an endpoint that are remembered for not having taken a connection,
pub const SHUNNED: usize = 16;
/// for so long: they are tried last, so that a dead one among several costs one connection its time, not all.
pub const SHUNNED_FOR: Duration = Duration::from_secs(10);
