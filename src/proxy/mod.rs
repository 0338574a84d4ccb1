//! A request from its first byte to its response's last: admit, origin, route, choose, forward, answer,
//! record.
//!
//! `server::connection` calls [`handle::handle`] for each request of a connection. Everything here runs on
//! the worker that accepted the connection. It must never wait for another thread, nor see who changes the
//! configuration.

pub mod admit;
pub mod answer;
pub mod budget;
pub mod challenge;
pub mod date;
pub mod downstream;
pub mod error;
pub mod exchange;
pub mod forward;
pub mod gate;
pub mod handle;
pub mod interim;
pub mod lane;
pub mod link;
pub mod patience;
pub mod reading;
pub mod refusal;
pub mod relay;
pub mod reply;
pub mod retry;
pub mod sending;
pub mod shed;
pub mod tunnel;
pub mod verdict;
pub mod view;
pub mod websocket;
pub mod wire;
pub mod worker;
