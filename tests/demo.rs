//! The demo as somebody runs it who has just cloned the repository: the real program, its output piped.
//!
//! It must never depend on how fast the machine is: only that it ends has a bound.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The demo, its temporary files in `folder`.
fn demo(folder: &TempDir, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", folder.path())
        .env_remove("CROSSFADE_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn is_empty(folder: &TempDir) -> bool {
    fs::read_dir(folder.path()).unwrap().next().is_none()
}

/// The line with `words` in it.
fn line<'t>(text: &'t str, words: &str) -> &'t str {
    text.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words:?} in:\n{text}"))
}

/// The number in front of `words`.
fn number(text: &str, words: &str) -> u64 {
    let before = line(text, words).split(words).next().unwrap();
    let digits = before.trim_end().rsplit(' ').next().unwrap().replace(',', "");
    digits.parse().unwrap_or_else(|_| panic!("no number in front of {words:?} in:\n{text}"))
}

/// Reads up to the line with `words` in it.
fn read_until(lines: &mut impl BufRead, words: &str) -> String {
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended before {words:?}");
    }
    line
}

#[test]
fn a_bounded_demo_moves_everything_loses_nothing_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let output = demo(&folder, &["--seconds", "8"]).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(0), ""),
        "{text}"
    );

    for step in ["fly to 1 %: live", "fly to 50 %: live", "rolling back", "fly to 100 %: live", "moved: "] {
        line(&text, step);
    }
    assert!(!text.contains('\x1b'), "a pipe gets no control sequences: {text:?}");
    let requests = number(&text, "requests: ");
    let [heroku, fly] = [number(&text, ", fly"), number(&text, ", with")];
    assert!(heroku > 0 && fly > 0, "{text}");
    assert_eq!((requests, number(&text, "lost by the proxy")), (heroku + fly, 0), "{text}");
    assert_eq!(number(&text, "connections closed by it"), 0, "{text}");
    assert!(is_empty(&folder));
}

#[test]
fn an_interrupted_demo_ends_clean_and_soon() {
    let folder = TempDir::new().unwrap();
    let mut child = demo(&folder, &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut lines, "fly to 1 %: live");
    assert!(!is_empty(&folder));

    let began = Instant::now();
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!((status.code(), number(&rest, "lost by the proxy")), (Some(0), 0), "{rest}");
    assert!(is_empty(&folder));
}

#[test]
fn who_writes_the_file_has_the_wheel() {
    let folder = TempDir::new().unwrap();
    let mut child = demo(&folder, &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let steer = read_until(&mut lines, "--state ");
    let file = std::path::Path::new(steer.split("--state ").nth(1).unwrap().trim()).join("crossfade.toml");
    read_until(&mut lines, "visitors come");

    let ours = fs::read_to_string(&file).unwrap().replace("heroku = 100, fly = 0", "heroku = 30, fly = 70");
    fs::write(&file, &ours).unwrap();
    read_until(&mut lines, "the weights are yours");
    let live = read_until(&mut lines, "your change is live");
    assert!(live.contains("heroku 30 %, fly 70 %"), "{live}");
    fs::write(&file, "weights = {").unwrap();
    read_until(&mut lines, "your change was refused");
    assert_eq!(fs::read_to_string(&file).unwrap(), "weights = {");

    // Nobody reads any more, and that ends it as well.
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(is_empty(&folder));
}
