//! The pure modules of Crossfade, compiled once more for the fuzz targets, from the same files.
//!
//! They see nothing but std and small crates (`tests/style` holds that), so that without the rest (TLS, HTTP, the
//! dashboard) they are built in a third of the time, and a target may reach what is private elsewhere.
//! The targets use it, and nobody else. It must never have a copy of anything.

#![allow(dead_code, unused_imports, reason = "who else uses it isn't here")]

#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/headers/mod.rs"]
pub mod headers;
#[path = "../../src/routing/mod.rs"]
pub mod routing;
#[path = "../../src/split/mod.rs"]
pub mod split;

pub mod control;
pub mod pieces;
pub mod proxy;
pub mod server;
pub mod upstream;
