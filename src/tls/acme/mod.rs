//! Certificates by ACME (RFC 8555): ordered, kept, renewed in time and told of, for as long as the process lives.
//!
//! `app` runs [`renewal::keep`] as one task of the control thread. What goes wrong must never take the certificate
//! away that serves, nor stop the next try, nor touch a worker.

pub mod client;
pub mod order;
pub mod renewal;
pub mod schedule;
pub mod state;
