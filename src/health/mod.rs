//! Which endpoints are fit for requests: what probes of ours are answered, and what requests meet.
//!
//! [`vitals`] is what workers count and read of an endpoint; [`watch`] on the control thread judges it by [`probe`] and
//! [`ejection`], and asks by `prober`. No request waits for any of it.

pub mod ejection;
pub mod probe;
pub mod vitals;
