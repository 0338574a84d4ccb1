//! Who may import whom, and what a pure module may touch.
//!
//! Called by `main`. It reads every `crate::` and `super::` path, in `use` lines and elsewhere, of the code
//! that isn't compiled for tests alone. It must never hold a rule that ARCHITECTURE.md doesn't tell.

use crate::source::{Source, is_word, line_of, words};

/// Modules that are functions of their arguments.
const PURE: [&str; 4] = ["routing", "split", "headers", "config"];
/// Pure files of modules that aren't.
const PURE_FILES: [&str; 3] = ["src/proxy/retry.rs", "src/proxy/refusal.rs", "src/upstream/out.rs"];
/// A module head that begins so makes its file pure too.
const PURE_HEAD: &str = "//! Pure: ";
/// The packages that pure code may use.
const VALUES: [&str; 9] =
    ["http", "serde", "toml", "ipnet", "xxhash_rust", "itoa", "bytes", "memchr", "httparse"];
/// Two more: they only derive.
const DERIVES: [&str; 2] = ["thiserror", "utoipa"];
/// What of std isn't a function of its arguments: clocks, global state, the world outside.
const IMPURE_STD: [&str; 16] = [
    "Instant::now",
    "SystemTime",
    "thread_local!",
    "static mut",
    "LazyLock",
    "OnceLock",
    "Mutex",
    "RwLock",
    "RandomState",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
];
/// Who never imports what: `(importer, imported, why)`, each a module path.
const NEVER: [(&str, &str, &str); 12] = [
    ("proxy", "control", "a request waits for nothing of the control thread"),
    ("proxy", "admin", "a request waits for nothing of the control thread"),
    ("proxy", "source", "a request waits for nothing of the control thread"),
    ("proxy", "config::file", "requests see what a configuration means, not how it is written"),
    ("upstream", "control", "a request waits for nothing of the control thread"),
    ("upstream", "admin", "a request waits for nothing of the control thread"),
    ("upstream", "source", "a request waits for nothing of the control thread"),
    ("upstream", "config::file", "requests see what a configuration means, not how it is written"),
    ("control", "proxy", "control publishes snapshots and knows nobody who serves them"),
    ("control", "server", "control publishes snapshots and knows nobody who serves them"),
    ("*", "app", "it puts the others together"),
    ("*", "cli", "it is where a person comes in"),
];
/// Who may import what `*` mustn't.
const ENTRY: [&str; 2] = ["main", "cli"];

/// Imports that the layout forbids.
pub(crate) fn forbidden(files: &[Source]) -> Vec<String> {
    let imports = files.iter().flat_map(|file| imports(file).into_iter().map(move |import| (file, import)));
    let wrong = imports.filter_map(|(file, (line, path))| {
        let (_, imported, why) = NEVER.iter().find(|(by, what, _)| imports_it(file, by, &path, what))?;
        Some(format!("{}: imports {imported}: {why}", file.at(line)))
    });
    wrong.collect()
}

/// What pure code does that it mustn't; `packages` are the names of everything in Cargo.toml.
pub(crate) fn impurities(files: &[Source], packages: &[String]) -> Vec<String> {
    let others =
        packages.iter().filter(|name| !VALUES.contains(&name.as_str()) && !DERIVES.contains(&name.as_str()));
    let others: Vec<&str> = others.map(String::as_str).collect();
    let pure = files.iter().filter(|file| is_pure(file));
    pure.flat_map(|file| [foreign(file, &others), outside(file), worldly(file)].concat()).collect()
}

/// The files that see the metrics library, of which there is one.
pub(crate) fn prometheus(files: &[Source]) -> Vec<String> {
    let seen = files.iter().filter(|file| mentions(&file.code, "prometheus").next().is_some());
    let seen: Vec<&str> = seen.map(|file| file.path.as_str()).collect();
    if seen.len() == 1 { Vec::new() } else { vec![format!("one file imports prometheus, not {seen:?}")] }
}

/// The names of the packages that a Cargo.toml depends on, as they stand in code.
pub(crate) fn packages(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) {
            names.push(name.trim().replace('-', "_"));
        }
    }
    names
}

fn imports_it(file: &Source, by: &str, path: &[String], what: &str) -> bool {
    let home = top(file);
    let importer = if by == "*" { !ENTRY.contains(&home) && home != what } else { home == by };
    let mut what = what.split("::");
    importer && path.len() >= what.clone().count() && path.iter().zip(&mut what).all(|(a, b)| a == b)
}

fn is_pure(file: &Source) -> bool {
    PURE.contains(&top(file)) || PURE_FILES.contains(&file.path.as_str()) || file.text.starts_with(PURE_HEAD)
}

/// Packages that pure code may not use.
fn foreign(file: &Source, packages: &[&str]) -> Vec<String> {
    let code = file.live_code();
    let used = packages.iter().flat_map(|name| mentions(&code, name).map(move |at| (at, name)));
    used.map(|(at, name)| format!("{}: pure code uses {name}", file.at(line_of(&code, at)))).collect()
}

/// Modules of ours that pure code may not use: any but the pure ones and its own.
fn outside(file: &Source) -> Vec<String> {
    let home = top(file);
    let pure_file = |path: &[String]| {
        let [first, second, ..] = path else { return false };
        PURE_FILES.contains(&format!("src/{first}/{second}.rs").as_str())
    };
    let seen = imports(file).into_iter().filter(|(_, path)| !pure_file(path));
    let seen = seen.filter_map(|(line, path)| Some((line, path.into_iter().next()?)));
    let wrong = seen.filter(|(_, first)| first.starts_with(char::is_lowercase) && first != home);
    let wrong = wrong.filter(|(_, first)| !PURE.contains(&first.as_str()));
    wrong.map(|(line, first)| format!("{}: pure code sees {first}", file.at(line))).collect()
}

/// What of std pure code may not use.
fn worldly(file: &Source) -> Vec<String> {
    let lines = file.live_lines();
    let found = lines.flat_map(|(line, code)| {
        let used = IMPURE_STD.into_iter().filter(move |name| code.contains(name));
        used.map(move |name| format!("{}: pure code uses {name}", file.at(line)))
    });
    found.collect()
}

/// Where the package `name` is named at the start of a path: `name::x`, `use name;`.
fn mentions<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    words(code, name).filter(move |&at| {
        let starts = !code[..at].ends_with("::") || code[..at].ends_with(" ::");
        let used = code[..at].ends_with("use ") && code[at + name.len()..].starts_with(';');
        used || starts && code[at + name.len()..].starts_with("::")
    })
}

/// The module of `src` that a file belongs to: `proxy` for `src/proxy/retry.rs` and `src/proxy.rs`.
fn top(file: &Source) -> &str {
    let below = file.path.strip_prefix("src/").unwrap_or(&file.path);
    below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
}

/// Every path into our own package in live code, from its root, with its line.
fn imports(file: &Source) -> Vec<(usize, Vec<String>)> {
    let code = file.live_code();
    let mut found = Vec::new();
    for (keyword, root) in [("crate", Vec::new()), ("crossfade", Vec::new()), ("super", parent(file))] {
        for at in words(&code, keyword).filter(|at| !code[..*at].ends_with("::")) {
            let mut paths = Vec::new();
            if let Some(rest) = code[at + keyword.len()..].strip_prefix("::") {
                expand(rest, root.clone(), &mut paths);
            }
            found.extend(paths.into_iter().map(|path| (line_of(&code, at), path)));
        }
    }
    found
}

/// The module that `super` means at the top of a file.
fn parent(file: &Source) -> Vec<String> {
    let below = file.path.strip_prefix("src/").unwrap_or(&file.path).trim_end_matches(".rs");
    let mut parts: Vec<String> = below.trim_end_matches("/mod").split('/').map(str::to_owned).collect();
    parts.pop();
    parts
}

/// Follows a path of `use`, branches and all; answers with what is left of the text behind it.
fn expand<'a>(text: &'a str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut branches) = text.strip_prefix('{') {
        loop {
            branches = expand(branches, path.clone(), found).trim_start();
            match branches.strip_prefix(',') {
                Some(more) => branches = more,
                None => return branches.strip_prefix('}').unwrap_or(""),
            }
        }
    }
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    match &text[..end] {
        "super" => drop(path.pop()),
        "" | "self" => {}
        name => path.push(name.to_owned()),
    }
    if let Some(rest) = text[end..].strip_prefix("::") {
        return expand(rest, path, found);
    }
    found.push(path);
    after_alias(&text[end..])
}

/// What follows a leaf: behind `as name` and `*`, up to the `,` or `}` that ends it.
fn after_alias(text: &str) -> &str {
    let end = text.find(|c: char| !(is_word(c) || c == ' ' || c == '*')).unwrap_or(text.len());
    &text[end..]
}

#[cfg(test)]
mod tests {
    use super::{forbidden, imports, impurities, packages, prometheus};
    use crate::source::Source;

    fn wrong(path: &str, text: &str) -> usize {
        forbidden(&[Source::new(path, text)]).len()
    }

    fn impure(path: &str, text: &str) -> usize {
        let names = packages(
            "[package]\nname = \"x\"\n[dependencies]\nbytes = \"1\"\nhyper-util = {}\ntokio = \"1\"\n",
        );
        impurities(&[Source::new(path, text)], &names).len()
    }

    #[test]
    fn paths_are_followed_into_every_branch() {
        let text = "use crate::{a::{self, B as C, *}, d};\nuse super::super::e::F;\nlet g = crate::h();\n";
        let found = imports(&Source::new("src/x/y.rs", text));
        let found: Vec<String> =
            found.into_iter().map(|(line, path)| format!("{line} {}", path.join("::"))).collect();
        assert_eq!(found, ["0 a", "0 a::B", "0 a", "0 d", "2 h", "1 e::F"]);
    }

    #[test]
    fn requests_never_see_control() {
        assert_eq!(wrong("src/proxy/handle.rs", "use crate::control::Controller;"), 1);
        assert_eq!(wrong("src/proxy/handle.rs", "use super::super::source;"), 1);
        assert_eq!(
            wrong("src/upstream/mod.rs", "use crate::{\n    admin::Api,\n    config::{file, model},\n};"),
            2
        );
        assert_eq!(wrong("src/upstream/pool.rs", "fn f(x: &crate::config::file::Text) {}"), 1);
        assert_eq!(wrong("src/proxy/handle.rs", "use crate::{config::model, split};\n// crate::control"), 0);
        assert_eq!(wrong("src/proxy/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::control;\n}\n"), 0);
    }

    #[test]
    fn control_never_sees_who_serves() {
        assert_eq!(wrong("src/control/mod.rs", "use crate::{proxy, server};"), 2);
        assert_eq!(wrong("src/control/mod.rs", "use crate::snapshot;"), 0);
    }

    #[test]
    fn only_the_entry_imports_app() {
        assert_eq!(wrong("src/server/mod.rs", "use crate::app;"), 1);
        assert_eq!(wrong("src/telemetry.rs", "crate::app::run()"), 1);
        assert_eq!(wrong("src/app.rs", "use crate::cli::Demo;"), 1);
        assert_eq!(wrong("src/main.rs", "use crossfade::app;"), 0);
        assert_eq!(wrong("src/cli/run.rs", "use crate::app;"), 0);
    }

    #[test]
    fn pure_code_uses_values_alone() {
        assert_eq!(impure("src/split/mod.rs", "use bytes::Bytes;\nuse std::time::Duration;"), 0);
        assert_eq!(impure("src/split/mod.rs", "use tokio::time;"), 1);
        assert_eq!(impure("src/headers/a.rs", "fn f(x: hyper_util::X) {}\nuse tokio;"), 2);
        assert_eq!(impure("src/proxy/retry.rs", "let now = std::time::Instant::now();"), 1);
        assert_eq!(impure("src/routing/mod.rs", "static X: OnceLock<u8> = f(std::env::var(x));"), 2);
        assert_eq!(impure("src/config/mod.rs", "#[cfg(test)]\nmod tests {\n    use tokio::x;\n}\n"), 0);
    }

    #[test]
    fn pure_code_sees_pure_modules_alone() {
        assert_eq!(impure("src/split/a.rs", "use crate::{headers, snapshot::Snapshot};\nuse super::b;"), 1);
        assert_eq!(impure("src/proxy/retry.rs", "use crate::proxy::error::Reason;"), 0);
        assert_eq!(impure("src/proxy/retry.rs", "use crate::upstream::Lease;"), 1);
        assert_eq!(
            impure("src/health/rules.rs", "//! Pure: when is it out?\nuse crate::upstream::Lease;"),
            1
        );
        assert_eq!(impure("src/health/run.rs", "//! Runs probes.\nuse crate::upstream::Lease;"), 0);
    }

    #[test]
    fn one_file_imports_prometheus() {
        let file = |path| Source::new(path, "use prometheus::Registry;");
        assert!(prometheus(&[file("src/a.rs")]).is_empty());
        assert_eq!(prometheus(&[file("src/a.rs"), file("src/b.rs")]).len(), 1);
        assert_eq!(prometheus(&[Source::new("src/a.rs", "// prometheus::x")]).len(), 1);
    }
}
