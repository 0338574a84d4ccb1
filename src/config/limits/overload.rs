//! The bounds of what a backend gets at a time: its queue, who is shed, and the bound that adapts.
//!
//! Read as the rest of `limits`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// An upload is looked at this often; where its visitor is waited for then, it counts in no `max_in_flight` until it is
/// whole. Long enough for a body that comes right behind its head, with a worker under load, too, and far below
/// `queue_timeout`, so that whoever waits for its place gets it.
pub const UPLOAD_COUNTS: Duration = Duration::from_millis(250);
/// Who waits for a backend looks this often whether another worker has given a place free; its own tells at once.
pub const QUEUE_LOOK: Duration = Duration::from_millis(5);
/// A worker leaves a free place to another whose first in the queue came so much earlier than its own,
pub const QUEUE_LENIENCE: Duration = Duration::from_millis(10);
/// … but not more often than this in a row: the other may be busy, and the place lies idle meanwhile.
pub const QUEUE_PASSES: u8 = 2;
/// Seconds after which who was shed is asked to come again (`Retry-After`), by chance, so that not all do at once.
pub const SHED_RETRY: RangeInclusive<u64> = 1..=4;
/// A bound that adapts is looked at this often: some answers of a busy backend, and soon enough.
pub const ADAPTIVE_LOOK: Duration = Duration::from_millis(100);
/// It begins with so many requests at a time, and doubles in two looks while answers come in time.
pub const ADAPTIVE_START: f64 = 32.0;
/// It never goes below so many: fewer at a time say nothing of how much a backend has to do.
pub const ADAPTIVE_LEAST: f64 = 8.0;
/// Answers that a decision takes at least,
pub const ADAPTIVE_ANSWERS: u64 = 20;
/// … within this time: a mean over minutes is of no moment.
pub const ADAPTIVE_STALE: Duration = Duration::from_secs(10);
/// What is usual is learned for so long at first, or for three answers' time.
pub const ADAPTIVE_LEARNING: Duration = Duration::from_millis(500);
/// How often a full backend gets less to do for a moment, to see whether that makes it faster:
pub const ADAPTIVE_PROBE: Duration = Duration::from_secs(10);
/// … this part of it, which leaves a good bound's backend idle for some hundredths of that time.
pub const ADAPTIVE_PROBE_TO: f64 = 0.35;
/// Answers may take so much longer than with little to do. Twice: as long in the backend's own queue as in its work.
pub const ADAPTIVE_TOLERANCE: f64 = 2.0;
