//! The journal of a process that is killed, or whose disk takes no more.
//!
//! `cargo test` runs it. It starts itself again as the process that keeps changes, by a variable of the environment.
//! It must never look at anything but what that process said and what is found after its end.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crossfade::config::limits::{HISTORY, JOURNAL_LINES};
use crossfade::control::journal::{Closed, Entry, Found, Journal, Kept};
use crossfade::control::record::Record;
use tokio::runtime::{Builder, Runtime};

/// Where the started process keeps its changes.
const DIR: &str = "CROSSFADE_TEST_JOURNAL";
/// How often it is killed.
const KILLS: usize = 50;
/// Bytes beside a change, so that writing a thousand takes longer than a kill.
const BALLAST: usize = 200;
/// Up to so many turns of a loop pass between a promise and the kill.
const SPINS: u32 = 20_000;

#[test]
fn kill_at_any_moment() {
    if let Some(dir) = std::env::var_os(DIR) {
        return keep_until_the_end(Path::new(&dir));
    }
    let state = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..KILLS {
        let (filled, left) = fill(state.path(), last);
        // Every other time while it is written anew, which begins once a line too many is promised.
        let promises = if round % 2 == 0 { left + 1 } else { fastrand::usize(0..20) };
        let promised = keep_and_kill(state.path(), promises).unwrap_or(filled);
        let (journal, found) = open(state.path());
        let revisions: Vec<u64> = found.entries.iter().map(|entry| entry.overrides).collect();
        let newest = *revisions.last().unwrap();
        assert!((promised..=promised + 1).contains(&newest), "round {round}: {newest}, promised {promised}");
        let unbroken: Vec<u64> = (newest + 1 - HISTORY as u64..=newest).collect();
        assert_eq!(revisions, unbroken, "round {round}");
        assert!(
            found.trouble.iter().all(|what| what.contains("an unfinished change")),
            "{:?}",
            found.trouble
        );
        assert_eq!(journal.close(), Closed::Kept);
        last = newest;
    }
}

/// The limit on a file's size stands for a full disk: half a line is written, and then no more.
#[test]
fn a_disk_that_takes_no_more_leaves_whole_lines() {
    if let Some(dir) = std::env::var_os(DIR) {
        return keep_until_the_end(Path::new(&dir));
    }
    let state = tempfile::tempdir().unwrap();
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let mut child = start(
        Command::new("sh").arg("-c").arg(limited).arg(std::env::current_exe().unwrap()),
        "a_disk_that_takes_no_more_leaves_whole_lines",
        state.path(),
    );
    let promised = promises(&mut child).last();
    assert!(child.wait().unwrap().success());
    assert!(promised.is_some());
    let (journal, found) = open(state.path());
    assert_eq!((found.entries.last().map(|entry| entry.overrides), found.trouble), (promised, Vec::new()));
    assert_eq!(journal.close(), Closed::Kept);
}

/// The started process: says so of each change that is kept, until one isn't.
fn keep_until_the_end(dir: &Path) {
    let (journal, found) = open(dir);
    let mut revision = found.entries.last().map_or(0, |entry| entry.overrides);
    loop {
        revision += 1;
        if runtime().block_on(journal.keep(&entry(revision))) != Kept::Yes {
            return;
        }
        // Beside the test's own output, in one write.
        std::io::stdout().write_all(format!("\nkept {revision}\n").as_bytes()).unwrap();
    }
}

/// Lets it keep so many changes, or a few more. Answers with the last that it promised.
fn keep_and_kill(dir: &Path, awaited: usize) -> Option<u64> {
    let mut child = start(&mut Command::new(std::env::current_exe().unwrap()), "kill_at_any_moment", dir);
    let mut promised = promises(&mut child);
    let before = promised.by_ref().take(awaited).last();
    for _ in 0..fastrand::u32(0..SPINS) {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    promised.last().or(before)
}

fn start(command: &mut Command, test: &str, dir: &Path) -> Child {
    let command = command.args(["--exact", test, "--nocapture"]).env(DIR, dir);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Each change that it says is kept; half a line is no promise.
fn promises(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| String::from_utf8(line).ok()?.strip_prefix("kept ")?.parse().ok())
}

/// Keeps changes until the journal is about to be written anew. Answers with the last, and how many more it has room
/// for.
fn fill(dir: &Path, last: u64) -> (u64, usize) {
    let (journal, _) = open(dir);
    let lines = fs::read(dir.join("journal")).unwrap().iter().filter(|byte| **byte == b'\n').count();
    let wanted = (JOURNAL_LINES - 5).saturating_sub(lines);
    let runtime = runtime();
    for batch in (last + 1..=last + wanted as u64).collect::<Vec<_>>().chunks(HISTORY / 2) {
        let kept: Vec<_> = batch.iter().map(|revision| journal.keep(&entry(*revision))).collect();
        assert!(kept.into_iter().all(|kept| runtime.block_on(kept) == Kept::Yes));
    }
    assert_eq!(journal.close(), Closed::Kept);
    (last + wanted as u64, JOURNAL_LINES.saturating_sub(lines + wanted))
}

fn open(dir: &Path) -> (Journal, Found<u64>) {
    Journal::open(dir)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn entry(revision: u64) -> Entry<u64> {
    let (at, actor, via) = ("2026-01-02T03:04:05Z".to_owned(), "uid 0".to_owned(), "socket".to_owned());
    let command = format!("shift fly {}%", revision % 100);
    let record = Record {
        revision,
        at,
        actor,
        via,
        command,
        reason: Some("x".repeat(BALLAST)),
        changes: Vec::new(),
        undoes: None,
    };
    Entry { record, overrides: revision }
}
