//! Which endpoints are fit for requests: what probes of ours are answered, and what requests meet.
//!
//! [`vitals`] is what workers count and read of an endpoint. On the control thread [`watch`] judges it by [`probe`] and
//! [`ejection`], has a [`prober`] ask the [`question`]s, and says what has changed. [`platform`] knows the pages that
//! platforms answer in an app's place. No request waits for any of it.

pub mod ejection;
mod member;
pub mod platform;
pub mod probe;
pub mod prober;
pub mod question;
pub mod vitals;
pub mod watch;
