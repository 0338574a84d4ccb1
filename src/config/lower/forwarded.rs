//! `[forwarded]`: which hops in front of us are believed, and from which peers.
//!
//! `lower` calls it. It must never believe more than was written: everything left out is nought.

use ipnet::IpNet;

use crate::config::address;
use crate::config::file::{Section, Value};
use crate::config::kinds;
use crate::config::problem::{Fault, Notes};
use crate::headers::origin::{Hops, Trust};

const TRUSTED_FORM: &str = "write a list of networks: trusted = [\"10.0.0.0/8\"]";

/// The section, nobody believed where it was left out. Connections may be `introduced` by a PROXY header, which is
/// believed of those that are trusted, too.
pub(in crate::config) fn read(file: &mut Section<'_>, introduced: bool, notes: &mut Notes<'_>) -> Trust {
    let mut section = file.section("forwarded", notes);
    let mut believed = 0;
    let mut hops = |section: &mut Section<'_>, notes: &mut Notes<'_>, key| {
        let count = section.read(key, notes, kinds::whole(0..=u8::MAX)).unwrap_or(0);
        believed += u32::from(count);
        count
    };
    let hops = Hops {
        x_for: hops(&mut section, notes, "x_for"),
        x_proto: hops(&mut section, notes, "x_proto"),
        x_host: hops(&mut section, notes, "x_host"),
        x_port: hops(&mut section, notes, "x_port"),
        x_prefix: hops(&mut section, notes, "x_prefix"),
    };
    let value = section.take("trusted");
    let trusted = value.as_ref().map(|value| networks(value, notes));
    doubts(&section, value.as_ref(), trusted.as_deref(), Believed { hops: believed > 0, introduced }, notes);
    section.finish(notes);
    Trust { hops, trusted }
}

fn networks(value: &Value<'_>, notes: &mut Notes<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in value.texts(notes, TRUSTED_FORM).into_iter().flatten() {
        networks.extend(notes.accept(&text.at, address::network(&text.text)));
    }
    networks
}

/// What is believed of whoever is trusted.
#[derive(Debug, Clone, Copy)]
struct Believed {
    hops: bool,
    introduced: bool,
}

/// Settings that work, but hardly as they were meant.
fn doubts(
    section: &Section<'_>,
    value: Option<&Value<'_>>,
    trusted: Option<&[IpNet]>,
    believed: Believed,
    notes: &mut Notes<'_>,
) {
    let at = value.map_or(&section.at, |value| &value.at);
    match trusted {
        None if believed.hops => notes.warn(
            at,
            Fault::new(
                "any peer is believed: hops are counted, but `trusted` is left out",
                "name the networks of the hop in front: trusted = [\"10.0.0.0/8\"]",
            ),
        ),
        Some([]) if believed.hops && value.is_some_and(Value::is_empty_list) => {
            let message = "no peer is believed: `trusted` is an empty list";
            notes.warn(at, Fault::new(message, TRUSTED_FORM));
        }
        Some(_) if !believed.hops && !believed.introduced => notes.warn(
            at,
            Fault::new(
                "`trusted` is without effect: no hop is counted",
                "say how many hops in front are believed: x_for = 1, x_proto = 1",
            ),
        ),
        None | Some(_) => {}
    }
}
