//! The whole program over real sockets: what visitors send, what backends see, what comes back.
//!
//! One file per topic. Each test starts the program and scripts its backends by `tests/kit`; what stands here
//! must hold whatever the inside looks like.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panics, and print what they measure"
)]

#[path = "../kit/mod.rs"]
mod kit;

mod asking;
mod attempts;
mod challenges;
mod cli;
mod connections;
mod control;
mod control_kept;
mod departures;
mod descriptors;
mod drain;
mod endings;
mod failover;
mod failures;
mod faults;
mod forwarding;
mod framing;
mod headers;
mod health;
mod http2_attacks;
mod http2_bounds;
mod http2_frames;
mod http2_messages;
mod memory;
mod overload;
mod pool;
mod proxy_protocol;
mod refusals;
mod reload;
mod split;
mod stalled;
mod streams;
mod systemd;
mod tls;
mod tunnels;
mod tunnels_drained;
mod tunnels_http2;
mod upgrade;
mod upgrade_halfway;
mod upstream_http2;
mod upstream_unix;
mod workers;
