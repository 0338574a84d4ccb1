//! Towards the visitors: listening sockets, workers, connections, and how they end.
//!
//! `app` opens the listeners and starts the workers; each worker owns what it accepts for life. Sockets are
//! opened once, before anything is served, and never closed and bound again.

pub mod accept;
pub mod balance;
pub mod body;
pub mod chunked;
pub mod connection;
pub mod drain;
pub mod extension;
pub mod framing;

pub mod head;
pub mod http1;
pub mod http2;
pub mod listener;
pub mod octets;
pub mod opening;
pub mod parking;
pub mod proxy_protocol;
pub mod socket;
pub mod turns;
pub mod worker;
