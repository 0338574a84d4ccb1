//! Nothing that stands in a file ends the process, and nothing wrong goes unsaid.

use proptest::prelude::*;

use super::{backend, env, route, server, top};
use crate::config::load;

const REFERENCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/crossfade.toml"));

/// Loads and renders: either a configuration, or at least one problem, each with a place inside the file.
fn survives(text: &str) {
    if let Err(problems) = load(text, &env) {
        assert!(!problems.0.is_empty(), "{text}");
        let lines = text.split('\n').count();
        for problem in &problems.0 {
            assert!((1..=lines).contains(&problem.line) && problem.span.end <= text.len(), "{problem:?}");
            assert!(!problem.message.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
        }
        problems.render("x.toml", text, true);
    }
}

fn near(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,300}") {
        survives(&text);
    }

    #[test]
    fn text_of_the_right_words_never_panics(
        words in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "[[", "]]", "{", "}", "=", ",", "\"", "'", "\"\"\"", "\n", ".", "#", "$", "${", "${X}", "1", "-1",
            "1e400", "nan", "true", "server", "http", "backends", "a", "url", "urls", "routes", "weights", "stable",
            "sticky", "pin", "hosts", "\"127.0.0.1:80\"", "\"https://a.example\"", "é",
        ]), 0..60)
    ) {
        survives(&words.concat());
        survives(&words.join(" "));
    }

    #[test]
    fn a_cut_file_never_panics(at in 0..REFERENCE.len()) {
        let at = near(REFERENCE, at);
        survives(&REFERENCE[..at]);
        survives(&REFERENCE[at..]);
    }

    #[test]
    fn a_mutated_file_never_panics(
        edits in prop::collection::vec((0..REFERENCE.len(), 0..40_usize, "(?s).{0,3}|[\\[\\]{}=\",\n$]"), 1..5)
    ) {
        let mut text = REFERENCE.to_owned();
        for (at, length, with) in edits {
            let begin = near(&text, at);
            let end = near(&text, begin + length);
            text.replace_range(begin..end.max(begin), &with);
        }
        survives(&text);
    }

    #[test]
    fn any_value_of_any_key_never_panics(
        value in "(?s)\"[^\"\\\\]{0,20}\"|-?[0-9]{1,25}|[0-9.e+-]{1,8}|\\[\\]|\\{\\}",
    ) {
        for key in ["workers", "metrics", "drain_timeout", "proxy_protocol"] {
            survives(&server(&format!("{key} = {value}")));
        }
        for key in ["urls", "host", "platform", "connect_timeout", "ca_file"] {
            survives(&backend(&format!("{key} = {value}")));
        }
        for key in ["hosts", "path", "weights", "sticky", "pin"] {
            survives(&route(&format!("{key} = {value}")));
        }
        survives(&top(&format!("backends.b.url = {value}\nlimits.head_size = {value}\naccess_log = {value}")));
        survives(&top(&format!("weights = {{ a = {value} }}\nforwarded.x_for = {value}\nbackends.{value} = 1")));
    }
}

#[test]
fn a_large_file_of_nothing_but_problems_is_read_in_one_pass() {
    let text = "x".repeat(60_000).split("").collect::<Vec<_>>().join("\n");
    survives(&text[..20_000]);
    survives(&format!("a = [{}", "[".repeat(10_000)));
    survives(&"x = 1\n".repeat(2_000));
}
