//! Every bound in one place: how much, how many, how long, and why.
//!
//! `lower` overlays what `[limits]` and `[timeouts]` say; workers read them from the snapshot. Nothing
//! elsewhere invents a bound of its own: a queue, buffer, wait or retry that isn't bounded here isn't
//! bounded.

use std::ops::RangeInclusive;
use std::time::Duration;

mod acme;
pub mod health;
pub mod overload;
pub mod sockets;
mod upgrade;

pub use acme::*;
pub use upgrade::*;

/// Bounds on sizes and counts. Defaults suit a machine with 256 MB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head, request line included (431). 64 KiB: ALB's own total, twice Heroku's usual.
    pub head_size: usize,
    /// Bytes of a request target (414). 8 KiB as Heroku's router.
    pub target_size: usize,
    /// Header fields of a request or response (431, 502). 100 as hyper's own.
    pub header_count: usize,
    /// Bytes of a request body (413); nothing means any: bodies stream and cost no memory.
    pub body_size: Option<u64>,
    /// Bytes of a request's body that are kept until the response's head, for a second attempt. 16 KiB: forms and API
    /// calls are sent again whole, where that is harmless.
    pub replay_size: usize,
    /// Bytes a second of a body that we wait for, from a visitor or for one to take, judged over each `idle_body` of
    /// such waiting. 240 as Kestrel, so that whoever sends a byte a second lives no longer than who sends none.
    pub min_rate: u64,
    /// Visitors' connections over all workers; beyond it new ones wait in the kernel's queue.
    pub connections: usize,
    /// Idle connections kept per worker and endpoint.
    pub pool_idle: usize,
    /// Bytes of memory; nothing for what the cgroup or the machine has, less a tenth.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_size: 64 * 1024,
            target_size: 8 * 1024,
            header_count: 100,
            body_size: None,
            replay_size: 16 * 1024,
            min_rate: 240,
            connections: 8192,
            pool_idle: 128,
            memory: None,
        }
    }
}

/// How much a backend is asked at a time, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Requests that it works on, none of them slow for its visitor's sake. 1024: more than one copy of an app answers
    /// at a time, and a bound on what a stampede makes it hold.
    pub in_flight: usize,
    /// Requests beyond those that wait for their turn; 0 means none. 256: what a backend answers within moments.
    pub queue: usize,
    /// How long one of them waits (503). 5 s: whoever looks at a page has gone by then.
    pub queue_timeout: Duration,
    /// Whether the bound goes down to what the backend answers in good time.
    pub adaptive: bool,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { in_flight: 1024, queue: 256, queue_timeout: Duration::from_secs(5), adaptive: false }
    }
}

/// Bounds on waiting for visitors and for whole exchanges; those for one backend stand with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From a request's first byte to the end of its head (408). 10 s ends slow-header attacks.
    pub request_head: Duration,
    /// Between requests on a connection. 75 s: above the 60 s of the load balancers in front of us.
    pub keep_alive: Duration,
    /// Without a byte of a body, either way, or of a write. 60 s: above Heroku's rolling 55 s.
    pub idle_body: Duration,
    /// From a request's whole head to its response's last byte. An hour: downloads and event streams live, nothing
    /// is for ever.
    pub request: Duration,
    /// Without a byte either way in a tunnel. An hour: frameworks ping every few seconds, apps that don't live too, and
    /// a visitor who went without a word keeps no seat for ever. Heroku's router ends one at 55 s by itself.
    pub tunnel_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            idle_body: Duration::from_secs(60),
            request: Duration::from_secs(3600),
            tunnel_idle: Duration::from_hours(1),
        }
    }
}

/// Bounds of HTTP/2 towards visitors (RFC 9113 section 10.5), each found to hold under attack.
#[derive(Debug)]
pub struct Http2;

impl Http2 {
    /// Streams at a time on one connection.
    pub const STREAMS: u32 = 100;
    /// Bytes of a request's body that a visitor may send ahead, per stream.
    pub const STREAM_WINDOW: u32 = 64 * 1024;
    /// … and per connection.
    pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
    /// Bytes kept per stream for a visitor who doesn't read.
    pub const SEND_BUFFER: usize = 32 * 1024;
    /// Bytes of a request's fields, as RFC 9113 section 6.5.2 counts them; more cost 52 MB in one attack.
    pub const HEADERS: u32 = 16 * 1024;
    /// Streams that a visitor has reset and nobody has taken yet (rapid reset, CVE-2023-44487).
    pub const PENDING_RESETS: usize = 20;
    /// Streams that we reset for a visitor's faults before the connection ends (MadeYouReset, CVE-2025-8671).
    pub const LOCAL_RESETS: usize = 128;
    /// Frames read from a connection, and what is read with the last, before others have their turn: less than a
    /// millisecond of work.
    pub const TURN: usize = 500;
    /// A connection is asked this often whether anybody is there,
    pub const PING: Duration = Duration::from_secs(20);
    /// and has this long to answer.
    pub const PONG: Duration = Duration::from_secs(10);
    /// A stream is ended this much later, or `timeouts.idle_body` where that is less, than the timeouts of its exchange
    /// would have, where they can't see it: a visitor who opens no window.
    pub const MARGIN: Duration = Duration::from_secs(10);
}

/// Backend default: TCP and TLS together. 5 s as Heroku's router.
pub const CONNECT: Duration = Duration::from_secs(5);
/// Backend default: to the response's head. 60 s; on Heroku 35 s, since its router answers 503 itself at 30
/// s.
pub const FIRST_BYTE: Duration = Duration::from_secs(60);
/// Backend default: idle in our pool. 50 s, below the 60 s of ALB and the 90 s of Heroku's router.
pub const POOL_IDLE: Duration = Duration::from_secs(50);
/// A backend that closes after an answer without having said so has been heard of by then, on any network: a
/// request that can't be sent twice takes a connection that has idled for so long, or was reused before.
pub const CLOSE_SHOWS: Duration = Duration::from_millis(20);
/// The next address of a backend is tried this long after the one before, or at once when that fails: the Connection
/// Attempt Delay of RFC 8305 section 5.
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);
/// Addresses of a backend that one connection is tried at; a name with more has had its chance by then.
pub const CONNECT_ADDRESSES: usize = 16;
/// Connections of HTTP/2 per worker and endpoint, those being opened with them: 25 600 requests at a time with a
/// hundred streams each, and a bound for backends that allow one. Beyond, requests wait for a stream.
pub const HTTP2_CONNECTIONS: usize = 256;
/// Requests at a time on one of them, whatever the backend allows: a connection that breaks must not take all with it.
pub const HTTP2_STREAMS: usize = 100;
/// Bytes of a response that a backend may send before the visitor takes them, per stream: what a visitor who doesn't
/// read costs at most, and 25 MB/s for one who does, 5 ms away from the backend.
pub const HTTP2_STREAM_WINDOW: u32 = 128 * 1024;
/// … and per connection: all of its streams, so that visitors who don't read hold back nobody else.
pub const HTTP2_CONNECTION_WINDOW: u32 = HTTP2_STREAMS as u32 * HTTP2_STREAM_WINDOW;
/// Bytes of a request's body that wait in hyper for the backend to take them, per stream.
pub const HTTP2_SEND_BUFFER: usize = 32 * 1024;
/// Bytes of a response's or its trailers' fields over HTTP/2, as RFC 9113 section 6.5.2 counts them. Heroku lets 8 KiB
/// of a cookie pass; what HTTP/1.1 may send us is bounded by [`BUFFER_MOST`].
pub const HTTP2_HEADER_LIST: u32 = BUFFER_MOST as u32;
/// A connection with requests on it that is silent for this long is asked whether it lives. At most three times within
/// `idle_body`: gRPC servers end connections that ask more often without saying anything else.
pub const HTTP2_PING: Duration = Duration::from_secs(20);
/// … and is dead without an answer by then.
pub const HTTP2_PONG: Duration = Duration::from_secs(10);
/// Idle connections are looked through this often, for those whose time is over.
pub const POOL_SWEEP: Duration = Duration::from_secs(5);
/// Addresses of a backend's name are looked up again this often: platforms change theirs under a 60 s TTL.
pub const DNS_REFRESH: Duration = Duration::from_secs(30);
/// Connections to an address that a name has lost are used on for so long: load balancers answer with a changing part
/// of theirs.
pub const DNS_KEEP: Duration = Duration::from_mins(5);
/// Names without an address are asked for this often.
pub const DNS_RETRY: Duration = Duration::from_secs(10);
/// How long a first lookup of a backend's name may hold back the configuration that brings it.
pub const DNS_FIRST: Duration = Duration::from_secs(2);
/// Bytes kept of a configuration file; more isn't one.
pub const CONFIG_SIZE: u64 = 4 * 1024 * 1024;
/// The content is read again this often, for file systems without events (bind mounts, NFS).
pub const CONFIG_POLL: Duration = Duration::from_secs(2);
/// A changed file has to rest this long before it is read: editors write in steps.
pub const CONFIG_DEBOUNCE: Duration = Duration::from_millis(40);
/// How long a draining connection may wait idle for a next request, which it answers with `Connection:
/// close`.
pub const DRAIN_IDLE_GRACE: Duration = Duration::from_millis(1000);
/// Changes of single routes that the history holds in memory, over all its revisions: some 8 MB.
pub const HISTORY_CHANGES: usize = 20_000;
/// When visitors of a route in maintenance are asked to come again (`Retry-After`): browsers don't by themselves, but
/// programs do, and shouldn't all at once for long.
pub const MAINTENANCE_RETRY: Duration = Duration::from_secs(30);
/// How long a change waits for the word of a worker that it is seen: they are seldom busy for longer than a
/// millisecond.
pub const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// Revisions that are kept: a rollout of weeks, with every step.
pub const HISTORY: usize = 1000;
/// Bytes of one line of the journal: as much as a configuration may have.
pub const JOURNAL_LINE: usize = 4 * 1024 * 1024;
/// Bytes of the lines that are kept, in memory too, however few revisions that are: 8 KiB for each of [`HISTORY`],
/// which is twenty routes changed at once, every time.
pub const JOURNAL_KEPT: usize = 8 * 1024 * 1024;
/// The journal is written anew beyond so many lines: once in [`HISTORY`] changes,
pub const JOURNAL_LINES: usize = 2 * HISTORY;
/// … or bytes.
pub const JOURNAL_SIZE: u64 = 16 * 1024 * 1024;
/// Bytes that are read of a journal, from its end: one of ours never has more.
pub const JOURNAL_READ: u64 = 64 * 1024 * 1024;
/// How long a start waits for the journal; then it goes on without.
pub const JOURNAL_OPEN: Duration = Duration::from_secs(5);
/// How long the answer to a command waits for the disk; the change is live already.
pub const JOURNAL_WAIT: Duration = Duration::from_secs(2);
/// What couldn't be written is tried again this often.
pub const JOURNAL_RETRY: Duration = Duration::from_secs(2);
/// How long an upgrade waits for the disk before anything is handed over: commands wait as long, visitors don't.
pub const JOURNAL_LEND: Duration = Duration::from_secs(6);
/// How long the end waits for what isn't written yet.
pub const JOURNAL_CLOSE: Duration = Duration::from_secs(2);
/// How often the admin API's socket and token are looked after, where they couldn't be had or were removed.
pub const ADMIN_SOCKET_RETRY: Duration = Duration::from_secs(2);
/// How long the start waits for each of them before it goes on: whoever reads that we listen may steer at once.
pub const ADMIN_OPENING: Duration = Duration::from_secs(2);
/// Connections at a time to metrics and health (Prometheus, its twin, probes), and to each door of the admin API: two
/// for each stream of [`ADMIN_STREAMS`]. Over TCP, who has shown no token makes room for who comes.
pub const ADMIN_CONNECTIONS: usize = 64;
/// How long one of them may take to send a request's head, or to send the next; and to show a token, where one is
/// needed.
pub const ADMIN_HEAD: Duration = Duration::from_secs(10);
/// How long one of them lives; a response under way then has [`ADMIN_HEAD`] to end.
pub const ADMIN_LIFE: Duration = Duration::from_mins(5);
/// Bytes of a command's body: the longest that makes sense has 3 KiB.
pub const ADMIN_BODY: usize = 64 * 1024;
/// Event streams at a time, over both doors of the admin API: half of one's connections, so that those who have a token
/// leave room for their commands.
pub const ADMIN_STREAMS: usize = 32;
/// Events waiting for one stream's reader; what is slower waits, and is cut off after [`ADMIN_HEAD`] without a byte.
pub const ADMIN_EVENTS: usize = 4;
/// A stream that has nothing to tell says so this often, for proxies between.
pub const ADMIN_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Wrong tokens in a row that one peer may send, or one network of IPv6, before it is told to wait; one more each
/// [`ADMIN_FORGIVE`]. The right one never waits: no number of tries finds one by chance.
pub const ADMIN_FAILURES: u32 = 10;
/// See [`ADMIN_FAILURES`].
pub const ADMIN_FORGIVE: Duration = Duration::from_secs(1);
/// Peers whose wrong tokens are remembered, 100 KB; beyond it the one that may try again first is forgotten.
pub const ADMIN_PEERS: usize = 1024;
/// Characters of an admin token at least: 16 random ones of base64 are 96 bits.
pub const TOKEN_LEAST: usize = 16;
/// Characters of a change's reason: a sentence or two, in every line of the history.
pub const REASON_SIZE: usize = 500;
/// Characters of a person's name.
pub const ACTOR_SIZE: usize = 64;
/// Revisions that the status tells.
pub const HISTORY_SHOWN: usize = 10;
/// The counts of all pairs are looked at this often, for live readings.
pub const SAMPLE: Duration = Duration::from_secs(1);
/// Looks that a live reading goes back: long enough for a rate that doesn't jump, short enough to see trouble at once.
pub const READING_SECONDS: usize = 10;
/// Looks between two points of a chart.
pub const POINT_SECONDS: usize = 5;
/// Points of a chart: fifteen minutes.
pub const CHART_POINTS: usize = 180;
/// Pairs of route and backend that have a chart, 20 KB each; nobody looks at more.
pub const CHART_LINES: usize = 200;
/// Events waiting for standard error; what doesn't fit is counted and dropped.
pub const EVENT_QUEUE: usize = 1024;
/// How long the end waits for a standard error that takes no more.
pub const EVENT_CLOSE: Duration = Duration::from_secs(1);
/// `crossfade health` waits so long for its answer: health checks are given five seconds by default.
pub const HEALTH_ASK: Duration = Duration::from_secs(3);
/// … and reads so many bytes of it.
pub const HEALTH_ANSWER: usize = 64 * 1024;
/// From a connection's first byte to the end of its TLS handshake.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection of HTTP/1 in the clear that has been silent for so long is a socket and no task any more, until its
/// next byte: who loads a page has come again before. The sixteenth part of `keep_alive` where that is less.
pub const PARKED_AFTER: Duration = Duration::from_secs(5);
/// Those are looked through this often, for those whose time is over.
pub const PARKED_SWEEP: Duration = Duration::from_millis(500);
/// So many of them are woken at a time.
pub const PARKED_WOKEN: usize = 64;
/// Pause of an accept loop after an error such as no descriptors left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Descriptors of so many are kept for metrics, health, the admin API, lookups and files: a part of the machine's …
pub const DESCRIPTORS_KEPT_PART: usize = 16;
/// … and no fewer or more than these: all connections that [`ADMIN_CONNECTIONS`] allows, where there is plenty.
pub const DESCRIPTORS_KEPT: RangeInclusive<usize> = 16..=256;
/// Descriptors that connections to backends need at most, where half would be more: two backends with all that
/// `max_in_flight` lets through by default, twice. Idle visitors need none.
pub const DESCRIPTORS_UPSTREAM: usize = 4096;
/// Descriptors that the process opens after it has divided them: watches, the admin API's socket, files in between.
pub const DESCRIPTORS_LATER: usize = 8;
/// Descriptors that a worker has of its own: what its runtime waits by.
pub const DESCRIPTORS_WORKER: usize = 3;
/// Bytes that a head has, mostly: room for one is made beside its body's.
pub const HEAD_ROOM: usize = 1024;
/// Bytes of a connection's own read buffer.
pub const READ_BUFFER: usize = 16 * 1024;
/// Bytes of a read of a request's head: ten times what a browser's has.
pub const HEAD_READ: usize = 4 * 1024;
/// What of a cgroup's or the machine's memory is ours unless `[limits] memory` says: the rest is what grows between two
/// looks, and the kernel's.
pub const MEMORY_SHARE: f64 = 0.9;
/// Memory is looked at this often, 30 microseconds each: a flood of visitors grows by 200 KiB a millisecond.
pub const MEMORY_LOOK: Duration = Duration::from_millis(50);
/// From this share of it on memory is tight,
pub const MEMORY_TIGHT: f64 = 0.75;
/// … or short: what is in flight has the last tenth to grow in.
pub const MEMORY_SHORT: f64 = 0.9;
/// Each ends this much below where it begins.
pub const MEMORY_EASED: f64 = 0.05;
/// While it is short, a visitor who takes nothing of its answer for so long goes; after each second half of it,
pub const MEMORY_PATIENCE: Duration = Duration::from_secs(10);
/// … down to this: any network is slower than that at times.
pub const MEMORY_PATIENCE_LEAST: Duration = Duration::from_secs(1);
/// The allocator is asked this often to give back what it keeps, by a thread that ends at once.
pub const MEMORY_TRIM: Duration = Duration::from_secs(2);
/// Between two connections that a listener takes while memory is tight: 200 a second and worker grow slowly enough to
/// be seen in time.
pub const MEMORY_PACE: Duration = Duration::from_millis(5);
/// When who is refused for want of memory is asked to come again (`Retry-After`).
pub const MEMORY_RETRY: Duration = Duration::from_secs(2);
/// What a connection needs, those idle and those at work together: for the word at start that not all of
/// [`Limits::connections`] fit.
pub const CONNECTION_COST: u64 = 12 * 1024;
/// What serving needs beside them.
pub const MEMORY_BASE: u64 = 16 * 1024 * 1024;
/// Bytes of a read of a body whose reader isn't known to be fast. A reader who stands still costs two of them.
pub const SLOW_READ: usize = 16 * 1024;
/// … while memory is scarce.
pub const SCARCE_READ: usize = 8 * 1024;
/// Bytes of a body below which a read brought a drop: the next waits in the lane. A chunk of a stream of text or sound
/// is as small, and a turn comes at once where nobody else waits.
pub const DROP: usize = 1024;
/// Drops that are read before everybody else has a turn: one costs some 20 µs.
pub const LANE: usize = 4;
/// From so many that wait in the lane on, the next are called after [`CROWD_PAUSE`].
pub const CROWD: usize = 64;
/// See [`CROWD`].
pub const CROWD_PAUSE: Duration = Duration::from_millis(1);
/// How large the rounds are in which a crowd is called: of 2000 one waits for less than a second, of 100 000 for
/// four.
pub const CROWD_ROUNDS: usize = 512;
/// A visitor who has taken so many bytes without once being slower than the backend is fast, and [`FAST_READ`] is read
/// for it at a time. Several times what the sockets between take by themselves.
pub const FAST_READER: u64 = 256 * 1024;
/// Bytes of a read of a body for a fast reader. With 64 KiB a body of 1 MiB cost a tenth more.
pub const FAST_READ: usize = 256 * 1024;
/// Bytes of a buffer of a connection of HTTP/1, each way and side: what one read brings, what a head has. With it 100
/// stalled readers cost 26 MB; with hyper's default they cost 134 MB.
pub const BUFFER_MOST: usize = 64 * 1024;
/// Fields that the answer to a probe may have.
pub const PROBE_FIELDS: usize = 100;
/// After our last byte, how long and how much of what the visitor still sends is read away, so that the
/// response isn't lost to a reset (RFC 9112 section 9.6).
pub const LINGER: Duration = Duration::from_secs(2);
/// See [`LINGER`].
pub const LINGER_BYTES: usize = 256 * 1024;
/// How long `Expect: 100-continue` waits for the backend's 100 before the body goes anyway (RFC 9110 section
/// 10.1.1).
pub const CONTINUE_WAIT: Duration = Duration::from_secs(1);
/// Bytes of informational responses that wait for a visitor to take them; what is over is dropped.
pub const INTERIM_SIZE: usize = 16 * 1024;
/// Informational responses before a response: one a second for minutes. Go's client takes five.
pub const INTERIM_MOST: u32 = 256;
/// Bytes of each direction of a tunnel that wait for its reader; what a visitor sends before the switch, too.
pub const TUNNEL_BUFFER: usize = 16 * 1024;
/// How long a visitor may take to answer the close frame of a drain. Browsers do at once.
pub const TUNNEL_CLOSE: Duration = Duration::from_secs(5);
/// For each request, so much of one may be sent again after a backend had its chance with it: a fifth, as Finagle and
/// linkerd have it.
pub const RETRY_SHARE: f64 = 0.2;
/// … and so many a second, where there are few requests.
pub const RETRIES_PER_SECOND: f64 = 3.0;
/// … and so many at once, by each worker: those in flight at a backend that is killed.
pub const RETRIES_MOST: f64 = 256.0;
/// Attempts of one request: the first, and those that follow a connection the backend had just closed.
pub const ATTEMPTS: u32 = 3;
/// Records waiting for the access log's writer, in chunks of a worker's buffer; what doesn't fit is counted
/// and dropped.
pub const ACCESS_LOG_QUEUE: usize = 256;
/// A worker's access buffer goes to the writer at this size.
pub const ACCESS_LOG_CHUNK: usize = 16 * 1024;
/// … or at this age.
pub const ACCESS_LOG_AGE: Duration = Duration::from_millis(100);
/// The listening sockets' queue in the kernel.
pub const BACKLOG: u32 = 4096;

/// Bytes of a unix socket's path: `sun_path` of Linux, less its final zero.
pub const UNIX_PATH: usize = 107;

/// What `[limits] head_size` may be, in bytes. At most ALB's own total; the buffer of a visitor's connection grows
/// with it.
pub const HEAD_SIZE: RangeInclusive<u64> = 1024..=BUFFER_MOST as u64;
/// What `[limits] target_size` may be, in bytes; never above the head's.
pub const TARGET_SIZE: RangeInclusive<u64> = 128..=BUFFER_MOST as u64;
/// What `[limits] replay_size` may be, in bytes; 0 keeps none. Each request in flight may cost as much.
pub const REPLAY_SIZE: RangeInclusive<u64> = 0..=1024 * 1024;
/// What `[limits] header_count` may be. 1000 as Heroku's router.
pub const HEADER_COUNT: RangeInclusive<usize> = 1..=1000;
/// What `[limits] min_rate` may be, in bytes a second; at the least, whoever sends a byte in each goes on.
pub const MIN_RATE: RangeInclusive<u64> = 1..=1024 * 1024;
/// What `[limits] connections` may be.
pub const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
/// What `[limits] memory` may be at least: less serves nobody.
pub const MEMORY: RangeInclusive<u64> = 8 * 1024 * 1024..=u64::MAX;
/// What `[limits] pool_idle` may be; 0 keeps none.
pub const POOL_IDLE_COUNT: RangeInclusive<usize> = 0..=10_000;
/// What `max_in_flight` of a backend may be.
pub const IN_FLIGHT: RangeInclusive<usize> = 1..=100_000;
/// What `max_queue` of a backend may be; each holds a request's head.
pub const QUEUE: RangeInclusive<usize> = 0..=100_000;
/// Characters of a path: as Linux.
pub const PATH_SIZE: usize = 4096;
/// What `[server] workers` may be at most; more threads than cores only cost.
pub const WORKERS_MOST: usize = 1024;
/// What a timeout may be at least.
pub const SHORTEST: Duration = Duration::from_millis(1);
/// What a timeout may be at most: a week outlasts every download, and nothing waits for ever.
pub const LONGEST: Duration = Duration::from_hours(168);
/// `[server] drain_timeout` unless said: Heroku and Kubernetes kill 30 s after SIGTERM.
pub const DRAIN: Duration = Duration::from_secs(30);
/// [`FIRST_BYTE`] on Heroku, whose router answers 503 (H12) itself at 30 s.
pub const FIRST_BYTE_HEROKU: Duration = Duration::from_secs(35);
/// From here on the platforms close an idle connection themselves: ALB, Fly.io's proxy and Heroku's router at
/// 60 s.
pub const PLATFORM_IDLE: Duration = Duration::from_secs(60);
/// Commands that wait for the Controller; whoever sends more waits, too.
pub const COMMANDS: usize = 16;
/// Connections on their way from one worker to another; beyond it they stay where they were accepted.
pub const HANDED: usize = 1024;
/// Bytes of a request line beside its target: the longest method that is registered has 17.
pub const LINE_BESIDE_TARGET: usize = 512;
/// Digits of a chunk's size: what 64 bits have. More are zeros, for ever if nobody counts.
pub const CHUNK_DIGITS: u8 = 16;
/// Bytes of chunk extensions in one body: nobody uses them, attackers do.
pub const CHUNK_EXTENSION: u16 = 4 * 1024;
/// Bytes of a trailer section: those of hyper.
pub const TRAILERS: u16 = 16 * 1024;
/// Fields of a trailer section.
pub const TRAILER_FIELDS: u8 = 64;
/// How long the end waits for an access log that takes no more, such as a pipe that nobody reads.
pub const ACCESS_LOG_CLOSE: Duration = Duration::from_secs(2);
/// How long a non-blocking access log that is full is left alone before the next try.
pub const ACCESS_LOG_PAUSE: Duration = Duration::from_millis(5);
/// Symlinks followed on the way to the configuration file before it is a loop: as Linux.
pub const SYMLINKS: usize = 40;
/// Readings of a configuration file that doesn't rest, [`CONFIG_DEBOUNCE`] apart.
pub const CONFIG_READINGS: usize = 25;
/// Characters of a value from outside that a message quotes: the longest name is whole.
pub const QUOTED: usize = 63;
/// Known names that a remedy lists. With all of them a report would grow by names times problems: 88 MB from a file
/// of 230 KB.
pub const NAMES_LISTED: usize = 10;
/// Known names that are looked through for the one that was meant: thousands of problems with thousands of names
/// would keep the control thread for minutes.
pub const NAMES_COMPARED: usize = 100;
/// Problems that a report shows; the rest is counted. Nobody reads more before correcting these.
pub const PROBLEMS_SHOWN: usize = 100;
/// Bytes of a believed `X-Forwarded-Prefix`.
pub const PREFIX_SIZE: usize = 256;
/// Bytes of a host: a DNS name has 253 characters, and a dot at its end.
pub const HOST_SIZE: usize = 254;
/// Bytes of a request id that is kept: twice what any tracer makes.
pub const REQUEST_ID_SIZE: usize = 128;

/// How long a command waits for the proxy's answer: a change is live within milliseconds, a name that can't be looked
/// up takes it two seconds, and nobody waits longer at 2 a.m.
pub const ASK: Duration = Duration::from_secs(10);
/// Bytes of an answer that a command reads: a thousand revisions of a hundred routes have 20 MB.
pub const ASK_ANSWER: usize = 32 * 1024 * 1024;
/// Bytes of one event that the live view reads: the status of a thousand routes has 1 MB.
pub const WATCH_EVENT: usize = 8 * 1024 * 1024;
/// Without an event for so long, what the live view shows is stale: one comes each second.
pub const WATCH_STALE: Duration = Duration::from_secs(3);
/// … and after so long it connects anew.
pub const WATCH_SILENCE: Duration = Duration::from_secs(10);
/// The live view tries to connect this often: at once to a person, at no cost to the proxy.
pub const WATCH_RETRY: Duration = Duration::from_secs(1);
/// Seconds of traffic that the live view draws.
pub const WATCH_SECONDS: usize = 60;
