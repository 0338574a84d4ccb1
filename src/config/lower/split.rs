//! A route's split: `stable`, `weights`, `sticky`, `pin`.
//!
//! `lower::routes` calls it. It must never guess a share: what isn't named gets none.

use http::HeaderName;

use crate::config::file::{Section, Value};
use crate::config::kinds;
use crate::config::lower::backends::BackendNames;
use crate::config::model::BackendIndex;
use crate::config::problem::{Fault, Notes, Span, quoted};
use crate::config::suggest;
use crate::split::{Pin, Sticky, Weights, cookie};

const STABLE_FORM: &str = "name the backend that rollback returns to: stable = \"heroku\"";
const WEIGHTS_FORM: &str = "write shares of their sum: weights = { heroku = 95, fly = 5 }";
const STICKY_FORM: &str =
    "write \"none\", \"cookie\", \"client-address\", { header = \"X-Account\" } or { cookie = \"session\" }";
const PIN_FORM: &str =
    "write pin = { header = \"X-Crossfade-Backend\", cookie = \"crossfade-pin\" }, or one of the two";
const HEADER_FORM: &str = "write the name of a request header: \"X-Account\"";
const COOKIE_FORM: &str = "write the name of a cookie: \"session\"";

/// What of a route is its split.
pub(super) struct Split {
    pub(super) stable: BackendIndex,
    pub(super) backends: Vec<BackendIndex>,
    pub(super) weights: Weights,
    pub(super) sticky: Sticky,
    pub(super) pin: Pin,
}

/// The split of a route; nothing where it has problems.
pub(super) fn read(
    section: &mut Section<'_>,
    names: &mut BackendNames<'_>,
    notes: &mut Notes<'_>,
) -> Option<Split> {
    let written = section.take("weights");
    let shares = written.as_ref().map(|value| shares(value, names, notes));
    let stable = section.take("stable");
    let stable = match stable {
        Some(value) => {
            value.text(notes, STABLE_FORM).and_then(|text| names.find(&text.text, &text.at, notes))
        }
        None => only_one(section, shares.as_ref(), notes),
    };
    let sticky = section.read("sticky", notes, sticky);
    let pin = section.read("pin", notes, pin);
    let mut shares = match shares {
        None => vec![(stable?, 1.0)],
        Some(shares) => shares?,
    };
    let stable = stable?;
    if shares.iter().all(|&(backend, _)| backend != stable) {
        shares.push((stable, 0.0));
    }
    shares.sort_by_key(|&(backend, _)| backend);
    let weights = weights(&shares, stable, &section.at_of("weights"), notes)?;
    let backends = shares.into_iter().map(|(backend, _)| backend).collect();
    Some(Split {
        stable,
        backends,
        weights,
        sticky: sticky.unwrap_or(Sticky::None),
        pin: pin.unwrap_or_default(),
    })
}

/// Backends with their shares.
type Shares = Vec<(BackendIndex, f64)>;

/// All shares, or nothing where one of them has a problem.
fn shares(value: &Value<'_>, names: &mut BackendNames<'_>, notes: &mut Notes<'_>) -> Option<Shares> {
    let table = value.table(notes, WEIGHTS_FORM)?;
    let section = Section::new("`weights`", value.at.clone(), Some(table));
    let mut shares = Some(Vec::new());
    for (at, share) in section.entries() {
        let backend = names.find(share.key, &at, notes);
        let share = share.number(notes, WEIGHTS_FORM).and_then(|number| positive(&share, number, notes));
        shares = shares.zip(backend.zip(share)).map(|(mut shares, one)| {
            shares.push(one);
            shares
        });
    }
    shares
}

fn positive(share: &Value<'_>, number: f64, notes: &mut Notes<'_>) -> Option<f64> {
    let fits = number.is_finite() && number >= 0.0;
    let fault =
        || Fault::new(format!("a weight can't be {number}"), "write a number from 0 up; 0 means none");
    notes.accept(&share.at, fits.then_some(number).ok_or_else(fault))
}

/// The stable backend where none is named: the one that has all the weight.
fn only_one(
    section: &Section<'_>,
    shares: Option<&Option<Shares>>,
    notes: &mut Notes<'_>,
) -> Option<BackendIndex> {
    match shares {
        Some(Some(shares)) if shares.len() == 1 => shares.first().map(|&(backend, _)| backend),
        // The weights' own problem is enough.
        Some(None) => None,
        Some(Some(_)) | None => {
            let message = "`stable` is missing in [[routes]]";
            notes.absent(&section.at, Fault::new(message, STABLE_FORM));
            None
        }
    }
}

fn weights(
    shares: &[(BackendIndex, f64)],
    stable: BackendIndex,
    at: &Span,
    notes: &mut Notes<'_>,
) -> Option<Weights> {
    if shares.iter().all(|&(_, share)| share == 0.0) {
        let message = "all weights are 0: no request could be served";
        notes.wrong(at, Fault::new(message, "give at least one backend more than 0"));
        return None;
    }
    let numbers: Vec<f64> = shares.iter().map(|&(_, share)| share).collect();
    let position = shares.iter().position(|&(backend, _)| backend == stable)?;
    let weights = Weights::new(&numbers, position);
    notes.accept(at, weights.map_err(|error| Fault::of_sentence(&error, WEIGHTS_FORM)))
}

fn sticky(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Sticky> {
    if value.is_text() {
        let words =
            [("none", Sticky::None), ("cookie", Sticky::Cookie), ("client-address", Sticky::ClientAddress)];
        return kinds::one_of(words)(value, notes);
    }
    let table = value.table(notes, STICKY_FORM)?;
    let mut section = Section::new("`sticky`", value.at.clone(), Some(table));
    let both = section.has("header") && section.has("cookie");
    let neither = !section.has("header") && !section.has("cookie");
    let header = section.read("header", notes, header);
    let cookie = section.read("cookie", notes, cookie_name);
    section.finish(notes);
    if both || neither {
        let message = "`sticky` names one thing that a visitor keeps";
        notes.wrong(&value.at, Fault::new(message, STICKY_FORM));
        return None;
    }
    header.map(Sticky::Header).or(cookie.map(Sticky::UserCookie))
}

fn pin(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Pin> {
    let table = value.table(notes, PIN_FORM)?;
    let mut section = Section::new("`pin`", value.at.clone(), Some(table));
    if table.is_empty() {
        notes.wrong(&value.at, Fault::new("`pin` names neither a header nor a cookie", PIN_FORM));
    }
    let header = section.read("header", notes, header);
    let cookie = section.read("cookie", notes, cookie_name);
    section.finish(notes);
    Some(Pin { header, cookie })
}

/// A request header that can reach us as it was sent.
fn header(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<HeaderName> {
    let text = value.text(notes, HEADER_FORM)?;
    let name = HeaderName::from_bytes(text.text.as_bytes());
    let fault = |_| Fault::new(format!("{} isn't the name of a header", quoted(&text.text)), HEADER_FORM);
    let name = notes.accept(&text.at, name.map_err(fault))?;
    if name.as_str().contains('_') {
        let message = format!("{} never arrives: headers with `_` are dropped", quoted(&text.text));
        notes.wrong(&text.at, Fault::new(message, "use a name with `-`"));
        return None;
    }
    Some(name)
}

/// A cookie of the app or of a tester; ours is `sticky = "cookie"`.
fn cookie_name(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let text = value.text(notes, COOKIE_FORM)?;
    // RFC 6265 section 4.1.1: a cookie's name is a token, as a method's.
    let token = http::Method::from_bytes(text.text.as_bytes()).is_ok();
    let fault = if !token {
        Fault::new(format!("{} isn't the name of a cookie", quoted(&text.text)), COOKIE_FORM)
    } else if text.text == cookie::NAME {
        let message = format!("the cookie {} is the proxy's own", suggest::listed([cookie::NAME]));
        Fault::new(message, "write sticky = \"cookie\" to split by it, or name another")
    } else {
        return Some(text.text);
    };
    notes.wrong(&text.at, fault);
    None
}
