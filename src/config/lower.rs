//! From the file to the model: one part for each section, and what only all of them together can tell.
//!
//! `load` calls it with the parsed file. It must never stop at a problem: each part notes its own and goes
//! on, and the model counts only when nothing was noted.

mod access_log;
mod acme;
mod admin;
mod backends;
mod bounds;
mod forwarded;
mod health;
mod routes;
mod server;
mod split;
mod state;
mod tls;

use toml::de::DeTable;

use crate::config::file::Section;
use crate::config::model::Config;
use crate::config::problem::{Fault, Notes};

pub(super) use backends::is_ourselves;
pub(super) use backends::of_host as platform_of_host;
pub(super) use backends::timeouts_of as timeouts_of_platform;
pub(super) use server::overlap;

/// The configuration, where no part of it was missing or wrong.
pub(super) fn lower<'d>(document: &'d DeTable<'d>, notes: &mut Notes<'_>) -> Option<Config> {
    let mut file = Section::new("the file", 0..0, Some(document));
    if document.is_empty() {
        notes.absent(&(0..0), empty());
        return None;
    }
    let state = state::read(&mut file, notes);
    let server = server::read(&mut file, &state, notes);
    let orders = file.has("acme");
    let https = server.as_ref().is_some_and(|server| !server.https.is_empty());
    let tls = tls::read(&mut file, https, orders, notes);
    let introduced = server.as_ref().is_some_and(|server| server.proxy_protocol);
    let forwarded = forwarded::read(&mut file, introduced, notes);
    if let Some(server) = &server {
        server::trusts(server, &forwarded, &file, notes);
    }
    let limits = bounds::limits(&mut file, notes);
    let timeouts = bounds::timeouts(&mut file, notes);
    let listeners: Vec<_> = server.iter().flat_map(server::addresses).collect();
    let (backends, mut names) = backends::read(&mut file, &listeners, notes);
    let routes = routes::read(&mut file, &mut names, notes);
    let access_log = access_log::read(&mut file, notes);
    let acme = acme::read(&mut file, &state, notes);
    if let (Some(acme), Some(server)) = (&acme, &server) {
        acme::doubts(acme, server, &tls, &file.at_of("acme"), notes);
    }
    file.finish(notes);
    names.finish(notes);
    let (server, state_dir, words) = (server?, state.dir, None);
    Some(Config {
        server,
        tls,
        forwarded,
        backends,
        routes,
        limits,
        timeouts,
        access_log,
        acme,
        words,
        state_dir,
    })
}

fn empty() -> Fault {
    Fault::new(
        "the file is empty: nothing could be served",
        "write at least [server], one [backends.NAME] and one [[routes]]; config/local.toml is a short example",
    )
}
