//! `${VAR}`, `${VAR:-default}` and `$$` in the strings of a configuration.
//!
//! `file` calls it for each string value it reads. It must never look at the process environment itself: the
//! caller passes the lookup, so that `check`, tests and reloads agree on what a file means.

use std::borrow::Cow;

use crate::config::problem::{Fault, quoted};
use crate::config::suggest;

/// A piece of a string that couldn't be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    /// The piece as it was written, `${…}`.
    pub(super) written: String,
    /// Why, and what to do.
    pub(super) fault: Fault,
}

/// `text` with every `${…}` filled in, or everything that couldn't be.
///
/// A variable that is set but empty takes its default, as in a shell's `:-`. `$$` is one `$`; a `$` before
/// anything else is itself.
pub(super) fn fill<'t>(
    text: &'t str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'t, str>, Vec<Unfilled>> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut filled = String::with_capacity(text.len());
    let mut unfilled: Vec<Unfilled> = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        filled.push_str(&rest[..dollar]);
        let (piece, after) = split_piece(&rest[dollar..]);
        rest = after;
        match meaning(piece, env) {
            Ok(value) => filled.push_str(&value),
            Err(fault) if unfilled.iter().all(|known| known.written != piece) => {
                unfilled.push(Unfilled { written: piece.to_owned(), fault });
            }
            Err(_) => {}
        }
    }
    filled.push_str(rest);
    if unfilled.is_empty() { Ok(Cow::Owned(filled)) } else { Err(unfilled) }
}

/// `$$`, `${…}` (to the end where it isn't closed) or a plain `$` off the front of a text that begins with
/// `$`.
fn split_piece(text: &str) -> (&str, &str) {
    let length = match text.as_bytes().get(1) {
        Some(b'$') => 2,
        Some(b'{') => text.find('}').map_or(text.len(), |end| end + 1),
        _ => 1,
    };
    text.split_at(length)
}

fn meaning(piece: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let Some(inner) = piece.strip_prefix("${") else {
        return Ok("$".to_owned());
    };
    let Some(inner) = inner.strip_suffix('}') else {
        return Err(Fault::new("`${` isn't closed", "write `${NAME}`, or `$$` for a plain `$`"));
    };
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        return Err(Fault::new(
            format!("{} isn't the name of an environment variable", quoted(name)),
            "write `${NAME}` or `${NAME:-default}`, or `$$` for a plain `$`",
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        let message = format!("the default of `${{{name}}}` holds another `${{…}}`");
        return Err(Fault::new(message, "write the default as plain text"));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(unset(name)),
    }
}

fn unset(name: &str) -> Fault {
    Fault::new(
        format!("the environment variable {} isn't set", suggest::listed([name])),
        format!("set {name}, or give a default: `${{{name}:-default}}`"),
    )
}

fn is_name(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    begins && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("app.example".to_owned()),
            "DOLLAR" => Some("${HOST}$$".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn filled(text: &str) -> String {
        fill(text, &table).unwrap().into_owned()
    }

    fn faults(text: &str) -> Vec<(String, String)> {
        fill(text, &table).unwrap_err().into_iter().map(|u| (u.written, u.fault.message)).collect()
    }

    #[test]
    fn variables_are_filled_in() {
        assert_eq!(filled("plain"), "plain");
        assert_eq!(filled("https://${HOST}/"), "https://app.example/");
        assert_eq!(filled("${HOST}${HOST}"), "app.exampleapp.example");
        assert_eq!(filled("é${HOST}é"), "éapp.exampleé");
        assert_eq!(filled("${EMPTY}"), "");
    }

    #[test]
    fn defaults_stand_in_for_unset_and_empty() {
        assert_eq!(filled("${PORT:-8080}"), "8080");
        assert_eq!(filled("${EMPTY:-x}"), "x");
        assert_eq!(filled("${HOST:-x}"), "app.example");
        assert_eq!(filled("${NONE:-}"), "");
        assert_eq!(filled("${NONE:-a:-b}"), "a:-b");
    }

    #[test]
    fn dollars_stay_dollars() {
        assert_eq!(filled("$$"), "$");
        assert_eq!(filled("$${HOST}"), "${HOST}");
        assert_eq!(filled("$HOST"), "$HOST");
        assert_eq!(filled("100$"), "100$");
    }

    #[test]
    fn values_are_never_filled_in_again() {
        assert_eq!(filled("${DOLLAR}"), "${HOST}$$");
    }

    #[test]
    fn every_unset_variable_is_named_once() {
        let found = faults("${ONE} ${TWO} ${ONE}");
        assert_eq!(found[0], ("${ONE}".to_owned(), "the environment variable `ONE` isn't set".to_owned()));
        assert_eq!(found[1].0, "${TWO}");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_isnt_a_variable_is_said() {
        assert_eq!(faults("a${HOST")[0].1, "`${` isn't closed");
        assert_eq!(faults("${}")[0].1, "`` isn't the name of an environment variable");
        assert_eq!(faults("${A-b}")[0].1, "`A-b` isn't the name of an environment variable");
        assert_eq!(faults("${A:-${B}}")[0].1, "the default of `${A}` holds another `${…}`");
    }
}
