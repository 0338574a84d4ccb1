//! `[[routes]]`: host and path to a split.
//!
//! `lower` calls it with the backends' names. It must never let two routes claim the same requests.

use std::collections::BTreeSet;

use crate::config::file::{Section, Text, Value};
use crate::config::kinds;
use crate::config::lower::backends::{BackendNames, NAME_FORM, name};
use crate::config::lower::split;
use crate::config::model::{BackendIndex, Failover, Mode, Name, Route};
use crate::config::problem::{Fault, Notes, Span, quoted};
use crate::routing;
use crate::routing::pattern::{HostPattern, PathPrefix};

const ROUTES_FORM: &str = "write a section for each route, in two brackets: [[routes]]";
const HOSTS_FORM: &str =
    "write a list of hosts, hosts = [\"www.example.com\", \"*.example.com\"], or leave it out for any";
const FAILOVER_FORM: &str =
    "write true, false, or the backend that stable's requests may go to: failover = \"fly\"";
const PATH_FORM: &str = "write the begin of a path: path = \"/api\"";

/// Every route in the order of the file.
pub(in crate::config) fn read(
    file: &mut Section<'_>,
    names: &mut BackendNames<'_>,
    notes: &mut Notes<'_>,
) -> Vec<Route> {
    let no_route = || Fault::new("there is no route: every request would get 404", ROUTES_FORM);
    let Some(value) = file.take("routes") else {
        notes.absent(&file.at, no_route());
        return Vec::new();
    };
    if value.is_empty_list() {
        notes.wrong(&value.at, no_route());
    }
    let (mut called, mut claims) = (Vec::new(), Vec::new());
    let mut routes = Vec::new();
    for item in value.items(notes, ROUTES_FORM) {
        if let Some(table) = item.table(notes, ROUTES_FORM) {
            let section = Section::new("[[routes]]", item.at, Some(table));
            routes.extend(route(section, names, &mut called, &mut claims, notes));
        }
    }
    same_names(&called, notes);
    same_requests(&claims, notes);
    routes
}

/// Which requests a route wants.
#[derive(Clone)]
struct Claim {
    /// Where the route stands.
    at: Span,
    /// What messages call it.
    name: String,
    hosts: Vec<HostPattern>,
    /// Where each of `hosts` stands.
    places: Vec<Span>,
    path: PathPrefix,
}

fn route(
    mut section: Section<'_>,
    names: &mut BackendNames<'_>,
    called: &mut Vec<(Name, Span)>,
    claims: &mut Vec<Claim>,
    notes: &mut Notes<'_>,
) -> Option<Route> {
    let remedy = "name it for metrics and logs: name = \"web\"";
    let name = section.require("name", notes, remedy, |value, notes| {
        let text = value.text(notes, NAME_FORM)?;
        name(&text.text, &text.at, notes).inspect(|name| called.push((name.clone(), text.at)))
    });
    let claim = claim(&mut section, name.as_ref(), notes);
    claims.extend(claim.clone());
    let split = split::read(&mut section, names, notes);
    let modes = [("open", Mode::Open), ("maintenance", Mode::Maintenance)];
    let mode = section.read("mode", notes, kinds::one_of(modes)).unwrap_or_default();
    let failover = section.take("failover");
    section.finish(notes);
    let Claim { hosts, path, .. } = claim?;
    let split::Split { stable, backends, weights, sticky, pin } = split?;
    let failover = match failover {
        Some(value) => self::failover(&value, stable, &backends, names, notes)?,
        None => Failover::default(),
    };
    Some(Route { name: name?, hosts, path, stable, backends, weights, sticky, pin, mode, failover })
}

/// `true`, `false`, or the backend that stable's requests may go to.
fn failover(
    value: &Value<'_>,
    stable: BackendIndex,
    backends: &[BackendIndex],
    names: &mut BackendNames<'_>,
    notes: &mut Notes<'_>,
) -> Option<Failover> {
    if !value.is_text() {
        return value
            .flag(notes)
            .map(|to_stable| if to_stable { Failover::ToStable } else { Failover::Never });
    }
    let text = value.text(notes, FAILOVER_FORM)?;
    let backend = names.find(&text.text, &text.at, notes)?;
    if backend == stable || !backends.contains(&backend) {
        let message = format!("{} can't take stable's requests", quoted(&text.text));
        let remedy = "name another backend of this route's weights, or write true";
        notes.wrong(&text.at, Fault::new(message, remedy));
        return None;
    }
    Some(Failover::Both(backend))
}

/// Hosts and path, or nothing where one of them has a problem.
fn claim(section: &mut Section<'_>, name: Option<&Name>, notes: &mut Notes<'_>) -> Option<Claim> {
    let hosts = match section.take("hosts") {
        None => Some((Vec::new(), Vec::new())),
        Some(value) => patterns(&value, notes),
    };
    let path = match section.take("path") {
        None => Some(PathPrefix::default()),
        Some(value) => kinds::parsed(PATH_FORM, path)(&value, notes),
    };
    let (hosts, places) = hosts?;
    let name = name.map_or("a route before".to_owned(), |name| format!("the route `{name}`"));
    Some(Claim { at: section.at.clone(), name, hosts, places, path: path? })
}

/// The patterns with their places, or nothing where one of them has a problem.
fn patterns(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<(Vec<HostPattern>, Vec<Span>)> {
    if value.is_empty_list() {
        notes.wrong(&value.at, Fault::new("`hosts` names no host", HOSTS_FORM));
    }
    let texts = value.texts(notes, HOSTS_FORM)?;
    let pattern = |text: &Text| {
        let parsed = HostPattern::parse(&text.text).map_err(|error| Fault::of_sentence(&error, HOSTS_FORM));
        notes.accept(&text.at, parsed)
    };
    let patterns: Vec<_> = texts.iter().map(pattern).collect();
    let patterns: Option<Vec<_>> = patterns.into_iter().collect();
    Some((patterns?, texts.into_iter().map(|text| text.at).collect()))
}

fn path(text: &str) -> Result<PathPrefix, Fault> {
    PathPrefix::parse(text).map_err(|error| Fault::of_sentence(&error, PATH_FORM))
}

fn same_names(called: &[(Name, Span)], notes: &mut Notes<'_>) {
    let mut seen = BTreeSet::new();
    for (name, at) in called {
        if !seen.insert(name) {
            let message = format!("two routes are called {}", quoted(name.as_str()));
            notes
                .wrong(at, Fault::new(message, "give each a name of its own: metrics and commands go by it"));
        }
    }
}

fn same_requests(claims: &[Claim], notes: &mut Notes<'_>) {
    let requests = claims.iter().map(|claim| (&claim.hosts[..], &claim.path));
    for same in routing::duplicates(requests) {
        let (first, second) = (&claims[same.first], &claims[same.second]);
        let mut placed = second.hosts.iter().zip(&second.places);
        let at = placed.find(|(host, _)| Some(*host) == same.host.as_ref()).map_or(&second.at, |(_, at)| at);
        let host = same.host.map_or("any host".to_owned(), |host| format!("`{host}`"));
        let message =
            format!("{} already serves {host} at `{}`; this one never would", first.name, first.path);
        notes.wrong(at, Fault::new(message, "give this route another path or other hosts, or remove it"));
    }
}
