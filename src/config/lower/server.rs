//! `[server]`: where to listen, how many workers, how to end.
//!
//! `lower` calls it. It must never open an address or look one up.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::address;
use crate::config::file::{Section, Value};
use crate::config::kinds;
use crate::config::limits;
use crate::config::lower::admin;
use crate::config::lower::state::State;
use crate::config::model::Server;
use crate::config::problem::{Fault, Notes, Span, quoted};
use crate::headers::origin::Trust;

const HTTP_FORM: &str = "say where to listen: http = \"0.0.0.0:8080\", or a list of addresses";
const METRICS_FORM: &str = "say where to serve them: metrics = \"127.0.0.1:9902\"";

/// The section; nothing where there is no listener.
pub(super) fn read(file: &mut Section<'_>, state: &State, notes: &mut Notes<'_>) -> Option<Server> {
    let mut section = file.section("server", notes);
    let mut taken = Vec::new();
    let listen = |value: &Value<'_>, notes: &mut Notes<'_>, unix: Option<&mut Vec<PathBuf>>| {
        listeners(value, &mut taken, unix, notes)
    };
    let mut unix = Vec::new();
    let [http, https] = visitors(&mut section, notes, listen, &mut unix);
    let metrics = section.read("metrics", notes, |value, notes| {
        let text = value.text(notes, METRICS_FORM)?;
        let address = notes.accept(&text.at, address::listen(&text.text))?;
        claim(address, &text.at, &mut taken, notes)
    });
    let workers = section.read("workers", notes, kinds::whole(1..=limits::WORKERS_MOST));
    let drain_timeout =
        section.read("drain_timeout", notes, kinds::duration(Duration::ZERO..=limits::LONGEST));
    let proxy_protocol = section.read("proxy_protocol", notes, Value::flag).unwrap_or(false);
    let admin =
        admin::read(&mut section, state, notes, |address, at, notes| claim(address, at, &mut taken, notes));
    section.finish(notes);
    Some(Server {
        http: http?,
        unix,
        https: https?,
        proxy_protocol,
        metrics,
        workers: workers.and_then(NonZeroUsize::new),
        drain_timeout: drain_timeout.unwrap_or(limits::DRAIN),
        admin,
    })
}

/// Every address that is listened on.
pub(super) fn addresses(server: &Server) -> impl Iterator<Item = SocketAddr> {
    let admin = server.admin.as_ref().map(|admin| admin.address);
    server.http.iter().chain(&server.https).chain(&server.metrics).copied().chain(admin)
}

/// The addresses of `http` and `https`, at least one of both; nothing where there is a problem with one.
fn visitors(
    section: &mut Section<'_>,
    notes: &mut Notes<'_>,
    mut listen: impl FnMut(&Value<'_>, &mut Notes<'_>, Option<&mut Vec<PathBuf>>) -> Option<Vec<SocketAddr>>,
    unix: &mut Vec<PathBuf>,
) -> [Option<Vec<SocketAddr>>; 2] {
    let values = ["http", "https"].map(|key| section.take(key));
    if values.iter().all(Option::is_none) {
        notes.absent(&section.at, Fault::new("`http` is missing in [server]", HTTP_FORM));
        return [None, None];
    }
    let [http, https] = values;
    let http = match http {
        Some(value) => {
            listen(&value, notes, Some(&mut *unix)).filter(|http| !http.is_empty() || !unix.is_empty())
        }
        None => Some(Vec::new()),
    };
    let https = match https {
        Some(value) => listen(&value, notes, None).filter(|https| !https.is_empty()),
        None => Some(Vec::new()),
    };
    [http, https]
}

/// PROXY headers are believed of peers that are named, or of nobody.
pub(in crate::config) fn trusts(server: &Server, trust: &Trust, file: &Section<'_>, notes: &mut Notes<'_>) {
    if server.proxy_protocol && trust.trusted.as_ref().is_none_or(Vec::is_empty) {
        let message = "`proxy_protocol` needs to know whose headers to believe";
        let remedy =
            "name the networks of the load balancer in front: trusted = [\"10.0.0.0/8\"] in [forwarded]";
        notes.wrong(&file.at_of("server"), Fault::new(message, remedy));
    }
}

fn listeners(
    value: &Value<'_>,
    taken: &mut Vec<SocketAddr>,
    mut unix: Option<&mut Vec<PathBuf>>,
    notes: &mut Notes<'_>,
) -> Option<Vec<SocketAddr>> {
    let texts = value.texts(notes, HTTP_FORM)?;
    if value.is_empty_list() {
        let message = format!("`{}` names no address", value.key);
        notes.wrong(&value.at, Fault::new(message, HTTP_FORM));
    }
    let mut http = Vec::with_capacity(texts.len());
    for text in texts {
        if let Some(unix) = &mut unix
            && let Some(path) = address::unix(&text.text)
        {
            unix.extend(notes.accept(&text.at, path));
            continue;
        }
        let address = notes.accept(&text.at, address::listen(&text.text));
        http.extend(address.and_then(|address| claim(address, &text.at, taken, notes)));
    }
    Some(http)
}

/// The address, unless another listener has it.
fn claim(
    address: SocketAddr,
    at: &Span,
    taken: &mut Vec<SocketAddr>,
    notes: &mut Notes<'_>,
) -> Option<SocketAddr> {
    let Some(other) = taken.iter().find(|other| overlap(&address, other)) else {
        taken.push(address);
        return Some(address);
    };
    let shown = quoted(&address.to_string());
    let fault = if *other == address {
        let message = format!("{shown} is listened on twice");
        Fault::new(message, "give each listener an address or a port of its own")
    } else {
        let message = format!("{shown} and {} overlap", quoted(&other.to_string()));
        Fault::new(message, "give each listener a port of its own: 0.0.0.0 takes all of IPv4, [::] both")
    };
    notes.wrong(at, fault);
    None
}

/// Whether two listeners would hear the same connections: `[::]` hears IPv4, too. Port 0 is a new one each time.
pub(in crate::config) fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    let same = one == other || (a == b && a.is_ipv4());
    one.port() != 0 && one.port() == other.port() && (same || covers(a, b) || covers(b, a))
}
