//! What the outside learns of us: metrics, access records, events.
//!
//! The proxy leaves one [`record::Record`] and one set of counts per exchange; the control thread tells of
//! changes by [`events::Event`] and is asked for [`metrics::Metrics::encode`]. Nothing here may make a
//! request wait: a count is an atomic of the worker's own, a record goes into the worker's own buffer, and
//! what can't be kept up with is dropped and counted.

pub mod access_log;
pub mod backends;
pub mod carried;
pub mod events;
mod families;
mod health_events;
pub mod loads;
pub mod metrics;
pub mod orders;
mod pairs;
mod process;
pub mod queue;
pub mod rates;
pub mod readings;
pub mod record;
pub mod series;
pub mod upgrade_events;
