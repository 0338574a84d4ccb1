//! Changes: what is asked for, the one who carries it out, and what can be seen of it.
//!
//! Runs on the control thread. Sources and the command line send a [`command::Command`]; only the
//! [`controller::Controller`] publishes. It must never know how requests are served.

pub mod adapting;
pub mod command;
pub mod controller;
pub mod handover;
mod inbox;
pub mod journal;
pub mod names;
mod origin;
pub mod overrides;
mod readiness;
pub mod record;
mod remembering;
mod shown;
pub mod status;
pub mod steering;
pub mod text;
