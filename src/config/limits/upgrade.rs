//! The bounds of an upgrade: what the process before waits for, and how many there are at a time.

use std::time::Duration;

/// How long a new program may take until it could serve: to start, to read its configuration, to look names up, which
/// has [`DNS_FIRST`](super::DNS_FIRST) by itself. The old one serves meanwhile.
pub const UPGRADE_PREPARE: Duration = Duration::from_secs(12);
/// How long it may take to begin with it, [`JOURNAL_OPEN`](super::JOURNAL_OPEN) and
/// [`ADMIN_OPENING`](super::ADMIN_OPENING) included. The old one takes visitors
/// meanwhile, but no commands and no scrapes.
pub const UPGRADE_SERVE: Duration = Duration::from_secs(8);
/// How long the end of a program may take that was killed, before the old one goes on without.
pub const UPGRADE_KILLED: Duration = Duration::from_secs(2);
/// Processes that may drain behind the one that serves: more would pile up, each with memory of its own.
pub const UPGRADE_BEHIND: u32 = 2;
/// A process that drains tells its successor this often what it has counted.
pub const UPGRADE_COUNTS: Duration = Duration::from_secs(1);
/// How long a process that has ended otherwise waits for who is still to be told of its upgrade.
pub const UPGRADE_ANSWER: Duration = Duration::from_secs(1);
/// Bytes of one message between the two: the history of thousands of routes has 8 MiB.
pub const UPGRADE_MESSAGE: usize = 64 * 1024 * 1024;
/// How long `crossfade upgrade` waits for its answer: all of the above, and the commands before it.
pub const UPGRADE_ASK: Duration = Duration::from_secs(30);
