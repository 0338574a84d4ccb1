//! Pure: where a proxy keeps its state, as the text of its configuration says it, however broken the rest is.
//!
//! The command line calls it to find the proxy's socket: a file that nothing else can be made of must not stand between
//! a person and a rollback. It must never be what the proxy itself goes by.

use toml::de::{DeTable, DeValue};

use crate::config::env;

/// `[state] dir`, `${…}` filled in; nothing where it isn't there or can't be filled in.
pub fn state_dir(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    found(text, "state", "dir", env)
}

/// `[server] metrics`, `${…}` filled in; nothing where it isn't there or can't be filled in.
pub fn metrics_address(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    found(text, "server", "metrics", env)
}

fn found(text: &str, name: &str, key: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    value(text, name, key, env).or_else(|| value(section(text, name)?, name, key, env))
}

fn value(text: &str, name: &str, key: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let (document, _) = DeTable::parse_recoverable(text);
    let section = document.get_ref().get(name)?.get_ref().as_table()?;
    let DeValue::String(written) = section.get(key)?.get_ref() else { return None };
    let filled = env::fill(written, env).ok()?;
    (!filled.is_empty()).then(|| filled.into_owned())
}

/// The section by itself: something unclosed before it may have swallowed its header.
fn section<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let header = |line: &str| line.trim_start().starts_with('[');
    let named = format!("[{name}");
    let mut lines = lines(text).skip_while(|(_, line)| !line.trim_start().starts_with(&named));
    let (start, _) = lines.next()?;
    let end = lines.find(|(_, line)| header(line)).map_or(text.len(), |(at, _)| at);
    Some(&text[start..end])
}

/// Each line with where it begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        at += line.len();
        (at - line.len(), line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        state_dir(text, &|name| (name == "HOME").then(|| "/home/anna".to_owned()))
    }

    #[test]
    fn it_is_found_in_whatever_is_left_of_a_file() {
        for (text, expected) in [
            ("[state]\ndir = \"/s\"\n", Some("/s")),
            ("state.dir = '/s'\n", Some("/s")),
            ("state = { dir = \"/s\" }\n", Some("/s")),
            ("[state]\ndir = \"${HOME}/s\"\n", Some("/home/anna/s")),
            ("[server\nhttp = \n[state]\ndir = \"/s\"\n", Some("/s")),
            ("[server]\nhttp = [\"a\",\n[state]\ndir = \"/s\"\n[backends.a]\nurl = 5\n", Some("/s")),
            ("[[routes]]\nweights = { a = 5\n\n[state]\r\ndir = \"/s\"\r\n", Some("/s")),
            ("a = \"\"\"\n[state]\ndir = \"/s\"\n", Some("/s")),
            ("<<<<<<< HEAD\n[state]\ndir = \"/s\"\n=======\n", Some("/s")),
            ("[state]\ndir = \"${NONE}/s\"\n", None),
            ("[state]\ndir = \"\"\n", None),
            ("[state]\ndir = 5\n", None),
            ("[server]\ndir = \"/s\"\n", None),
            ("", None),
        ] {
            assert_eq!(found(text).as_deref(), expected, "{text}");
        }
    }
}
