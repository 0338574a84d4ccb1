//! What may not be written: unfinished work, panics, vague names, sleeps, fixed ports, unsafe code.
//!
//! Called by `main`. It must never look into comments or literals for code, nor into code for prose.

use crate::source::{Source, is_word, words};

/// Names that say nothing about what is inside.
const VAGUE: [&str; 9] =
    ["util", "utils", "common", "manager", "managers", "helper", "helpers", "misc", "shared"];
/// Marks of unfinished work, in code and comments.
const UNFINISHED: [&str; 3] = ["TODO", "FIXME", "XXX"];
/// Keys of the configuration that open a listening socket.
const LISTENERS: [&str; 4] = ["http", "https", "metrics", "admin"];
/// Said on a line whose fixed port nothing ever listens on.
const NEVER_BOUND: &str = "never bound";

/// Files without the module head that says what they are for.
pub(crate) fn headless(files: &[Source]) -> Vec<String> {
    let bare = files.iter().filter(|file| !file.text.starts_with("//! "));
    bare.map(|file| format!("{}: begins without a module head (`//! `)", file.path)).collect()
}

/// Work left for later, tests put aside, threads put to sleep.
pub(crate) fn unfinished(files: &[Source]) -> Vec<String> {
    let marks = files.iter().flat_map(|file| {
        let lines = file.text.lines().enumerate();
        lines.flat_map(move |(line, text)| {
            let found = UNFINISHED.into_iter().filter(move |mark| words(text, mark).next().is_some());
            found.map(move |mark| format!("{}: {mark}", file.at(line)))
        })
    });
    let calls = ["todo!", "unimplemented!", "#[ignore", "thread::sleep"];
    marks.chain(code_with(files, &calls)).collect()
}

/// Panics in live code that no reason stands beside (`expect` carries one).
pub(crate) fn panics(files: &[Source]) -> Vec<String> {
    let found = files.iter().flat_map(|file| {
        let lines = file.live_lines();
        lines.flat_map(move |(line, code)| {
            let calls = [".unwrap()", "panic!"].into_iter().filter(|call| has(code, call));
            calls.map(move |call| format!("{}: {call} outside tests", file.at(line)))
        })
    });
    found.collect()
}

/// Unsafe code, in whatever form.
pub(crate) fn unsafe_code(files: &[Source]) -> Vec<String> {
    let lines = files.iter().flat_map(|file| file.lines().map(move |line| (file, line)));
    let found = lines.filter(|(_, (_, code))| words(code, "unsafe").next().is_some());
    found.map(|(file, (line, _))| format!("{}: unsafe", file.at(line))).collect()
}

/// Names that say nothing: of files, of modules, of types; and `get_`, which says less than nothing.
pub(crate) fn vague_names(files: &[Source]) -> Vec<String> {
    let paths = files.iter().flat_map(|file| {
        let parts = file.path.trim_end_matches(".rs").split('/');
        parts
            .filter(|part| VAGUE.contains(part))
            .map(move |part| format!("{}: `{part}` says nothing", file.path))
    });
    let names = files.iter().flat_map(|file| {
        let named = file.lines().flat_map(|(line, code)| declared(code).map(move |name| (line, name)));
        let vague = named.filter(|(_, name)| is_vague(name));
        vague.map(move |(line, name)| format!("{}: `{name}` says nothing", file.at(line)))
    });
    paths.chain(names).collect()
}

/// Tests that wait by time: they are slow on a good day and fail on a bad one.
pub(crate) fn sleeps(files: &[Source]) -> Vec<String> {
    let lines = files.iter().flat_map(|file| file.lines().map(move |line| (file, line)));
    let asleep = lines.filter(|(_, (_, code))| words(code, "sleep").next().is_some());
    asleep.map(|(file, (line, _))| format!("{}: sleep; wait for what is awaited", file.at(line))).collect()
}

/// Tests that listen on a port of their own choice, which somebody else may have.
pub(crate) fn fixed_ports(files: &[Source]) -> Vec<String> {
    let lines = files.iter().flat_map(|file| file.text.lines().enumerate().map(move |line| (file, line)));
    let fixed = lines.filter(|(_, (_, text))| listens_on_fixed_port(text) && !text.contains(NEVER_BOUND));
    fixed.map(|(file, (line, _))| format!("{}: a fixed port; port 0 is always free", file.at(line))).collect()
}

fn code_with<'a>(files: &'a [Source], calls: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    let lines = files.iter().flat_map(|file| file.lines().map(move |line| (file, line)));
    lines.flat_map(move |(file, (line, code))| {
        let found = calls.iter().filter(move |call| has(code, call));
        found.map(move |call| format!("{}: {call}", file.at(line)))
    })
}

/// Whether `call` stands in `code`, not as the end of a longer name (`my_panic!`).
fn has(code: &str, call: &str) -> bool {
    let starts_word = call.starts_with(is_word);
    code.match_indices(call).any(|(at, _)| !(starts_word && code[..at].ends_with(is_word)))
}

/// The names that a line declares.
fn declared(code: &str) -> impl Iterator<Item = &str> {
    let keywords = ["fn", "mod", "struct", "enum", "trait", "type"];
    keywords.into_iter().flat_map(move |keyword| {
        words(code, keyword).map(move |at| {
            let rest = code[at + keyword.len()..].trim_start();
            &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())]
        })
    })
}

fn is_vague(name: &str) -> bool {
    let endings = ["Manager", "Helper", "Helpers", "Util", "Utils"];
    name.starts_with("get_") || VAGUE.contains(&name) || endings.iter().any(|ending| name.ends_with(ending))
}

fn listens_on_fixed_port(text: &str) -> bool {
    let bound = text.contains("bind(") || text.contains("--listen");
    let configured = LISTENERS
        .iter()
        .any(|key| words(text, key).any(|at| text[at + key.len()..].trim_start().starts_with('=')));
    (bound || configured) && names_port(text)
}

/// Whether a loopback or any-address with a port other than 0 stands in `text`.
fn names_port(text: &str) -> bool {
    let hosts = ["127.0.0.1", "0.0.0.0", "localhost", "[::1]", "[::]"];
    hosts.iter().flat_map(|host| text.match_indices(host).map(move |(at, _)| &text[at + host.len()..])).any(
        |rest| {
            let port = rest.strip_prefix(':').or_else(|| rest.strip_prefix("\", ")).unwrap_or("");
            port.starts_with(|c: char| matches!(c, '1'..='9'))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{fixed_ports, headless, panics, sleeps, unfinished, unsafe_code, vague_names};
    use crate::source::Source;

    type Check = fn(&[Source]) -> Vec<String>;

    /// How many problems `check` finds in `text`.
    fn found(check: Check, text: &str) -> usize {
        check(&[Source::new("src/a.rs", text)]).len()
    }

    #[test]
    fn a_file_needs_a_head() {
        assert_eq!(found(headless, "//! What it is.\nuse x;"), 0);
        assert_eq!(found(headless, "use x;\n//! Too late."), 1);
        assert_eq!(found(headless, "// Not a head."), 1);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments() {
        for bad in [
            "// TODO later",
            "/* FIXME */",
            "x // XXX",
            "todo!()",
            "unimplemented!()",
            "#[ignore = \"slow\"]",
        ] {
            assert_eq!(found(unfinished, bad), 1, "{bad}");
        }
        assert_eq!(found(unfinished, "std::thread::sleep(x)"), 1);
        assert_eq!(found(unfinished, "let s = \"todo!\"; // XXXL, no todo!"), 0);
    }

    #[test]
    fn panics_are_found_outside_tests_alone() {
        assert_eq!(found(panics, "x.unwrap();\npanic!(\"no\");"), 2);
        assert_eq!(found(panics, "x.unwrap_or(1); x.expect(\"why\"); // .unwrap()\nlet s = \"panic!\";"), 0);
        assert_eq!(found(panics, "#[cfg(test)]\nmod tests {\n    x.unwrap();\n}\n"), 0);
        assert_eq!(found(panics, "#[cfg(test)]\nmod tests {\n}\nx.unwrap();\n"), 1);
    }

    #[test]
    fn unsafe_code_is_found_and_the_lint_that_forbids_it_is_not() {
        assert_eq!(found(unsafe_code, "unsafe { x }"), 1);
        assert_eq!(found(unsafe_code, "#![forbid(unsafe_code)] // unsafe"), 0);
    }

    #[test]
    fn vague_names_are_found() {
        for bad in
            ["fn get_x() {}", "mod utils;", "struct PoolManager;", "enum Helper {}", "pub mod common {"]
        {
            assert_eq!(found(vague_names, bad), 1, "{bad}");
        }
        assert_eq!(found(vague_names, "fn getter() {}\nlet common = get_mut(); mod split;"), 0);
        for bad in ["src/utils.rs", "src/proxy/helper/mod.rs"] {
            assert_eq!(vague_names(&[Source::new(bad, "")]).len(), 1, "{bad}");
        }
    }

    #[test]
    fn sleeps_are_found() {
        assert_eq!(
            found(sleeps, "std::thread::sleep(x);\ntokio::time::sleep(x).await;\nuse tokio::time::sleep;"),
            3
        );
        assert_eq!(found(sleeps, "// no sleep\nasleep(); sleep_until(x);"), 0);
    }

    #[test]
    fn fixed_ports_are_found_where_something_listens_on_them() {
        for bad in [
            "TcpListener::bind(\"127.0.0.1:8080\")",
            "bind((\"localhost\", 8080))",
            "http = \"0.0.0.0:80\"",
            "let text = \"admin=\\\"[::1]:99\\\"\";",
            "run(&[\"--listen\", \"127.0.0.1:8080\"])",
        ] {
            assert_eq!(found(fixed_ports, bad), 1, "{bad}");
        }
        for good in [
            "TcpListener::bind(\"127.0.0.1:0\")",
            "http = \"127.0.0.1:8080\" # never bound",
            "url = \"http://127.0.0.1:1\"",
        ] {
            assert_eq!(found(fixed_ports, good), 0, "{good}");
        }
    }
}
