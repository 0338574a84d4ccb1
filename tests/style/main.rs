//! Holds the style that DESIGN and ARCHITECTURE.md promise, over every Rust file of the package.
//!
//! `cargo test` runs it. Each check is a function from files to problems, and shows beside it that it can
//! fail. It must never excuse a file by name: what can't be held here isn't promised.

mod imports;
mod size;
mod source;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// What serves visitors.
fn product() -> Vec<Source> {
    files("src")
}

/// What tests and measures it. Left out: this folder, which spells out what it forbids.
fn tests() -> Vec<Source> {
    let own = |file: &Source| file.path.starts_with("tests/style/");
    let mut all = files("tests");
    all.extend(files("benches"));
    all.retain(|file| !own(file));
    all
}

fn everything() -> Vec<Source> {
    let mut all = product();
    all.extend(tests());
    all
}

#[test]
fn files_functions_and_lines_are_short() {
    let mut all = everything();
    all.extend(files("tests/style"));
    hold(&[
        size::long_files(&all),
        size::long_functions(&all),
        size::wide_lines(&all),
        size::spread(&product()),
    ]);
}

#[test]
fn each_file_says_what_it_is() {
    hold(&[words::headless(&everything())]);
}

#[test]
fn nothing_is_left_for_later() {
    hold(&[words::unfinished(&everything())]);
}

#[test]
fn live_code_never_panics_without_a_reason() {
    hold(&[words::panics(&product())]);
}

#[test]
fn nothing_is_unsafe() {
    hold(&[words::unsafe_code(&everything())]);
}

#[test]
fn names_say_what_is_inside() {
    hold(&[words::vague_names(&everything())]);
}

#[test]
fn modules_import_only_what_the_layout_allows() {
    hold(&[imports::forbidden(&product())]);
}

#[test]
fn pure_modules_are_functions_of_their_arguments() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the package has a manifest");
    let packages = imports::packages(&manifest);
    assert!(packages.iter().any(|name| name == "tokio"), "the manifest was not understood");
    hold(&[imports::impurities(&product(), &packages)]);
}

#[test]
fn one_file_imports_prometheus() {
    hold(&[imports::prometheus(&product())]);
}

#[test]
fn tests_neither_sleep_nor_claim_a_port() {
    hold(&[words::sleeps(&tests()), words::fixed_ports(&tests())]);
}

/// Fails with every problem at once.
fn hold(problems: &[Vec<String>]) {
    let problems = problems.concat();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the package, by path; what tools put there (`.env`, `node_modules`)
/// aside.
fn files(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    let mut sources: Vec<Source> = found.iter().map(|file| Source::read(root(), file)).collect();
    let for_tests: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        source.whole_test = for_tests.iter().any(|module| is_within(&source.path, module));
    }
    sources
}

/// Whether a file is the module's own or one of those below it.
fn is_within(path: &str, module: &str) -> bool {
    let folder = module.trim_end_matches(".rs").trim_end_matches("/mod");
    path == module || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a folder of the package can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "node_modules" {
            walk(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}
