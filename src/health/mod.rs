//! Which endpoints are fit for requests: what probes of ours are answered, and what requests meet.
//!
//! [`vitals`] is what workers count and read of an endpoint, [`probe`] and [`ejection`] judge it, [`platform`] knows the
//! pages that platforms answer in an app's place.

pub mod ejection;
pub mod platform;
pub mod probe;
pub mod vitals;
