//! Crossfade: a traffic-splitting reverse proxy for leaving one platform for another.
//!
//! The modules in reading order: what a user writes (`config`), what is decided without a socket in sight (`routing`,
//! `split`, `headers`), what serves (`snapshot`, `proxy`, `upstream`, `health`, `tls`, `server`), what changes it
//! (`control`, `source`), what tells of it (`telemetry`, `admin`), what hands it on (`upgrade`), and what puts it
//! together (`app`, `cli`). `ARCHITECTURE.md` has the whole picture.

pub mod config;

pub mod headers;
pub mod routing;
pub mod split;

pub mod health;
pub mod memory;
pub mod proxy;
pub mod server;
pub mod snapshot;
pub mod tls;
pub mod upstream;

pub mod control;
pub mod source;

pub mod admin;
pub mod telemetry;

pub mod upgrade;

pub mod app;
pub mod cli;
pub mod demo;
