//! `[backends.NAME.health]`: how a backend is asked how it does, and when an endpoint is left out.
//!
//! `backends` calls it. It must never ask anybody.

use std::str::FromStr;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use crate::config::address;
use crate::config::file::{Section, Value};
use crate::config::health::{Ejection, Expected, Health, Probe};
use crate::config::kinds;
use crate::config::limits::health as limits;
use crate::config::problem::{Fault, Notes, quoted};
use crate::headers::hop_by_hop::is_hop_by_hop;

const PATH_FORM: &str = "write the path that is asked for: path = \"/up\"";
const STATUS_FORM: &str = "write a status, a class or a list of them: 200, \"2xx\", [200, 401]";
const HOST_FORM: &str = "write a host name: host = \"www.example.com\"";
const HEADERS_FORM: &str = "write names and values: headers = { \"X-Probe\" = \"crossfade\" }";
/// What says something only where a backend is asked.
const OF_PROBES: [&str; 7] = ["interval", "timeout", "rise", "fall", "status", "host", "headers"];

/// The section in that of a backend.
pub(super) fn read(backend: &mut Section<'_>, notes: &mut Notes<'_>) -> Health {
    let mut section = section_of(backend, notes);
    let path = section.read("path", notes, kinds::parsed(PATH_FORM, path));
    let probe = probe(&mut section, path, notes);
    let default = Ejection::default();
    let ejection = Ejection {
        after: section
            .read("eject_after", notes, kinds::whole(limits::EJECT_AFTERS))
            .unwrap_or(default.after),
        error_percent: section
            .read("eject_error_percent", notes, kinds::whole(limits::EJECT_PERCENTS))
            .unwrap_or(default.error_percent),
        min_requests: section
            .read("eject_min_requests", notes, kinds::whole(limits::EJECT_REQUESTS_RANGE))
            .unwrap_or(default.min_requests),
        first: section.read("eject_for", notes, kinds::duration(limits::EJECT_FORS)).unwrap_or(default.first),
    };
    section.finish(notes);
    Health { probe, ejection }
}

fn section_of<'d>(backend: &mut Section<'d>, notes: &mut Notes<'_>) -> Section<'d> {
    let name = backend.name.replace(']', ".health]");
    let value = backend.take("health");
    let at = value.as_ref().map_or(backend.at.clone(), |value| value.at.clone());
    let table = value.and_then(|value| value.table(notes, &format!("write it as a section: {name}")));
    Section::new(name, at, table)
}

/// How it is asked. Without a path it isn't, and whoever wrote how is told so.
fn probe(section: &mut Section<'_>, path: Option<PathAndQuery>, notes: &mut Notes<'_>) -> Option<Probe> {
    if !section.has("path")
        && let Some(key) = OF_PROBES.into_iter().find(|key| section.has(key))
    {
        let message = format!("`{key}` is without effect: no `path` is asked for");
        notes.warn(&section.at_of(key), Fault::new(message, PATH_FORM));
    }
    let default = Probe::of(path.clone().unwrap_or(PathAndQuery::from_static("/")));
    let interval = section.read("interval", notes, kinds::duration(limits::PROBE_INTERVALS));
    let timeout = section.read("timeout", notes, kinds::duration(limits::PROBE_TIMEOUTS));
    let rise = section.read("rise", notes, kinds::whole(limits::PROBE_RUN));
    let fall = section.read("fall", notes, kinds::whole(limits::PROBE_RUN));
    let probe = Probe {
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.unwrap_or(default.timeout),
        rise: rise.unwrap_or(default.rise),
        fall: fall.unwrap_or(default.fall),
        expected: section.read("status", notes, expected).unwrap_or(default.expected),
        host: section.read("host", notes, kinds::parsed(HOST_FORM, address::host_header)),
        headers: section.read("headers", notes, headers).unwrap_or(default.headers),
        path: default.path,
    };
    path.map(|_| probe)
}

fn path(text: &str) -> Result<PathAndQuery, Fault> {
    let parsed = PathAndQuery::from_str(text).ok().filter(|_| text.starts_with('/'));
    let fits = parsed.filter(|_| text.len() <= limits::PROBE_PATH && !text.contains('#'));
    fits.ok_or_else(|| Fault::new(format!("`path` can't be {}", quoted(text)), PATH_FORM))
}

fn expected(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Expected> {
    if !value.is_list() {
        return one_expected(value, notes);
    }
    let items = value.items(notes, STATUS_FORM);
    if items.is_empty() {
        notes.wrong(&value.at, Fault::new("`status` names none", STATUS_FORM));
    }
    // All of them are read before any is missed, so that each problem is noted.
    let each: Vec<_> = items.iter().map(|item| one_expected(item, notes)).collect();
    each.into_iter().collect::<Option<Vec<_>>>()?.into_iter().reduce(|mut all, one| {
        all.or(one);
        all
    })
}

fn one_expected(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Expected> {
    let text = match value.is_text() {
        true => value.text(notes, STATUS_FORM)?.text,
        false => value.whole(notes, STATUS_FORM)?.to_string(),
    };
    let fault = || Fault::new(format!("`status` can't be {}", quoted(&text)), STATUS_FORM);
    notes.accept(&value.at, Expected::parse(&text).ok_or_else(fault))
}

fn headers(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let table = value.table(notes, HEADERS_FORM)?;
    let section = Section::new("`headers`".to_owned(), value.at.clone(), Some(table));
    let entries: Vec<_> = section.entries().collect();
    if entries.len() > limits::PROBE_HEADERS {
        let message = format!("`headers` has more than {} fields", limits::PROBE_HEADERS);
        notes.wrong(&value.at, Fault::new(message, "leave some out"));
        return None;
    }
    let field = |(at, value): (_, Value<'_>)| {
        let text = value.text(notes, HEADERS_FORM)?;
        let name = notes.accept(&at, field_name(value.key));
        let valid = HeaderValue::try_from(&text.text).ok().filter(|_| text.text.len() <= limits::PROBE_PATH);
        let fault = || Fault::new(format!("{} can't be a field's value", quoted(&text.text)), HEADERS_FORM);
        let value = notes.accept(&text.at, valid.ok_or_else(fault));
        Some((name?, value?))
    };
    let fields: Vec<_> = entries.into_iter().map(field).collect();
    fields.into_iter().collect()
}

/// A field that is ours to set anew can be set; one that frames the message, or names its host, can't.
fn field_name(text: &str) -> Result<HeaderName, Fault> {
    let fault = |remedy: &str| Fault::new(format!("a probe can't have the field {}", quoted(text)), remedy);
    let name = HeaderName::try_from(text).map_err(|_| fault(HEADERS_FORM))?;
    match name.as_str() {
        "host" => Err(fault(HOST_FORM)),
        "content-length" | "expect" => Err(fault("leave it out: a probe has no body")),
        other if is_hop_by_hop(other) => Err(fault("leave it out: it belongs to one connection")),
        _ => Ok(name),
    }
}
