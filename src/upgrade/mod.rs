//! From one process to the next without a gap: listening sockets, state and counts are handed on, and nobody is
//! refused.
//!
//! The old process starts the new program as its child, with a socket as its standard input. Over that go, in this
//! order: `Hello` (child), `Welcome` with the listening sockets, `Prepared` (child: all that can fail has gone well,
//! and nobody is served yet), `Go` with what is live, `Serving` (child), and then `Counts` until the old process ends.
//! Whatever goes wrong before `Serving` leaves the old process serving. `app` drives both sides: it must never be seen
//! from here.

pub mod channel;
pub mod inherited;
pub mod message;
pub mod notify;
pub mod predecessor;
pub mod program;
pub mod successor;
