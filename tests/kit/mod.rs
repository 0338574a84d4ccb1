//! The kit of the whole-proxy tests: starts the real program, plays the backend, speaks raw bytes.
//!
//! `tests/proxy` uses it. It must never know what is right: that is the tests'. It must never wait by time
//! where something can be awaited, nor wait for ever.

pub(crate) mod backend;
pub(crate) mod certificates;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod faulty;
pub(crate) mod frames;
pub(crate) mod http2;
pub(crate) mod http2_client;
pub(crate) mod message;
pub(crate) mod proxy;
pub(crate) mod succession;
pub(crate) mod visitor;
pub(crate) mod websocket;

use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(crate) use backend::{Backend, Peer, ok};
pub(crate) use config::Config;
pub(crate) use message::Message;
pub(crate) use proxy::Proxy;
pub(crate) use visitor::Visitor;

/// What hasn't happened by then never will.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `condition` holds, looking again and again; fails by the name of `what` at the deadline.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < DEADLINE, "waited in vain: {what}");
        pause(Duration::from_millis(2));
    }
}

/// Lets `time` pass, where passing time is what a test is about.
pub(crate) fn pause(time: Duration) {
    let (_open, never) = mpsc::channel::<()>();
    assert!(never.recv_timeout(time).is_err(), "nobody sends");
}
