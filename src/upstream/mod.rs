//! Towards the backends: endpoints and their addresses, connections, and each worker's pools of them.
//!
//! `proxy::forward` takes a [`lease::Lease`] and sends one request on it; the control thread keeps the
//! addresses fresh. Nothing here decides where a request goes, and nothing may wait for the control thread.

pub mod adaptive;
pub mod connect;
pub mod content;
pub mod descriptors;
pub mod dial;
pub mod endpoint;
pub mod http1;
pub mod http2;
pub mod io;
pub mod lease;
pub mod line;
pub mod load;
pub mod out;
pub mod pace;
pub mod pool;
pub mod prefixed;
pub mod resolve;
pub mod shunned;
pub mod socket;
pub mod stall;
pub mod streams;
pub mod tls;
pub mod unanswered;
pub mod unsent;
pub mod upload;
