//! The journal's lines, and what is in them.

#[path = "../../src/control/record.rs"]
pub mod record;

pub mod journal;
