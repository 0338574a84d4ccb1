//! The journal on a real disk: what is found again, and what may be in the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::disk::{BROKEN, JOURNAL, LOCK};
use super::*;
use crate::config::limits::{HISTORY, JOURNAL_LINES, JOURNAL_READ};
use crate::control::record::Record;

fn entry(revision: u64) -> Entry<u64> {
    let (at, actor, via) = ("2026-01-02T03:04:05Z".to_owned(), "uid 0".to_owned(), "socket".to_owned());
    let command = format!("shift fly {revision}%");
    let record =
        Record { revision, at, actor, via, command, reason: None, changes: Vec::new(), undoes: None };
    Entry { record, overrides: revision }
}

/// A directory that isn't there yet, in one that goes away with the test.
fn state() -> (tempfile::TempDir, PathBuf) {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("var/state");
    (above, dir)
}

fn open(dir: &Path) -> (Journal, Found<u64>) {
    Journal::open(dir)
}

/// What the next process finds.
fn found(dir: &Path) -> (Vec<u64>, Vec<String>) {
    let (journal, found) = open(dir);
    assert_eq!(journal.close(), Closed::Kept);
    (found.entries.iter().map(|entry| entry.overrides).collect(), found.trouble)
}

#[track_caller]
fn is_not_kept(kept: &Kept, why: &str) {
    let Kept::NotYet(reason) = kept else { panic!("it is kept") };
    assert!(reason.contains(why), "{reason}");
}

/// Until everything is kept.
async fn recovered(journal: &Journal) {
    let mut trouble = journal.trouble();
    timeout(std::time::Duration::from_secs(10), trouble.wait_for(Option::is_none)).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_kept_is_found_after_a_restart() {
    let (_above, dir) = state();
    let (journal, first) = open(&dir);
    assert_eq!((first.entries, first.trouble), (Vec::new(), Vec::new()));
    assert_eq!(journal.keep(&entry(1)).await, Kept::Yes);
    // On its way before anybody waits for it.
    let (two, three) = (journal.keep(&entry(2)), journal.keep(&entry(3)));
    assert_eq!((three.await, two.await), (Kept::Yes, Kept::Yes));
    assert_eq!(journal.close(), Closed::Kept);
    is_not_kept(&journal.keep(&entry(4)).await, "closed");
    assert_eq!(found(&dir), (vec![1, 2, 3], Vec::new()));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(dir.clone()), mode(dir.join(JOURNAL)), mode(dir.join(LOCK))), (0o700, 0o600, 0o600));
}

#[tokio::test]
async fn a_torn_end_is_dropped_and_never_stands_before_the_next_change() {
    let (_above, dir) = state();
    let (journal, _) = open(&dir);
    assert_eq!(journal.keep(&entry(1)).await, Kept::Yes);
    assert_eq!(journal.keep(&entry(2)).await, Kept::Yes);
    journal.close();
    let whole = fs::read(dir.join(JOURNAL)).unwrap();
    fs::write(dir.join(JOURNAL), &whole[..whole.len() - 1]).unwrap();
    let (journal, again) = open(&dir);
    assert_eq!(again.entries, [entry(1)]);
    assert!(again.trouble[0].starts_with("an unfinished change at the end of"), "{:?}", again.trouble);
    assert_eq!(journal.keep(&entry(3)).await, Kept::Yes);
    journal.close();
    assert_eq!(found(&dir), (vec![1, 3], Vec::new()));
    assert!(!dir.join(BROKEN).exists());
}

#[tokio::test]
async fn a_damaged_file_is_kept_beside_and_its_good_lines_go_on() {
    let (_above, dir) = state();
    let (journal, _) = open(&dir);
    for revision in 1..=3 {
        assert_eq!(journal.keep(&entry(revision)).await, Kept::Yes);
    }
    journal.close();
    let damaged = fs::read_to_string(dir.join(JOURNAL)).unwrap().replace("fly 2%", "fly 3%");
    fs::write(dir.join(JOURNAL), &damaged).unwrap();
    let (good, trouble) = found(&dir);
    assert_eq!(good, [1, 3]);
    assert!(trouble[0].contains("damaged") && trouble[0].ends_with("kept as journal.broken"), "{trouble:?}");
    assert_eq!(fs::read_to_string(dir.join(BROKEN)).unwrap(), damaged);
    assert_eq!(found(&dir), (vec![1, 3], Vec::new()));
}

#[tokio::test]
async fn a_file_without_a_good_line_is_set_aside() {
    for content in ["not ours", "not ours\n", "\0\0\0"] {
        let (_above, dir) = state();
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(JOURNAL), content).unwrap();
        let (journal, first) = open(&dir);
        assert_eq!((first.entries.len(), first.trouble.len()), (0, 1), "{content:?}");
        assert_eq!(journal.keep(&entry(1)).await, Kept::Yes);
        journal.close();
        assert_eq!(fs::read_to_string(dir.join(BROKEN)).unwrap(), content);
        assert_eq!(found(&dir), (vec![1], Vec::new()));
    }
}

#[test]
fn of_a_file_beyond_all_bounds_only_the_end_is_read() {
    let (_above, dir) = state();
    fs::create_dir_all(&dir).unwrap();
    let file = fs::File::create(dir.join(JOURNAL)).unwrap();
    // It has no bytes on the disk.
    file.set_len(JOURNAL_READ * 2).unwrap();
    fs::OpenOptions::new()
        .append(true)
        .open(dir.join(JOURNAL))
        .and_then(|mut file| {
            std::io::Write::write_all(&mut file, &[b"\n", Line::of(&entry(9)).unwrap().bytes()].concat())
        })
        .unwrap();
    let (good, trouble) = found(&dir);
    assert_eq!(good, [9]);
    assert!(trouble[0].contains("only its end was read"), "{trouble:?}");
    assert!(fs::metadata(dir.join(JOURNAL)).unwrap().len() < 1000);
}

#[test]
fn entries_of_another_version_are_left_out_and_left_where_they_are() {
    let (_above, dir) = state();
    let (journal, _) = open(&dir);
    let foreign = Entry { record: entry(1).record, overrides: "what a later version writes" };
    drop((journal.keep(&foreign), journal.keep(&entry(2))));
    assert_eq!(journal.close(), Closed::Kept);
    let (good, trouble) = found(&dir);
    assert_eq!(good, [2]);
    assert!(trouble[0].contains("1 changes"), "{trouble:?}");
    let (_journal, first) = Journal::open::<serde_json::Value>(&dir);
    assert_eq!(first.entries.len(), 2);
}

#[tokio::test]
async fn a_long_journal_is_written_anew_with_the_last_thousand() {
    let (_above, dir) = state();
    let (journal, _) = open(&dir);
    let mut revision = 0;
    while revision <= JOURNAL_LINES as u64 {
        let batch: Vec<_> = (0..HISTORY / 2)
            .map(|_| {
                revision += 1;
                journal.keep(&entry(revision))
            })
            .collect();
        for kept in batch {
            assert_eq!(kept.await, Kept::Yes);
        }
    }
    assert_eq!(journal.close(), Closed::Kept);
    let lines = fs::read_to_string(dir.join(JOURNAL)).unwrap().lines().count();
    assert!(lines <= JOURNAL_LINES, "{lines}");
    let last: Vec<u64> = (revision - HISTORY as u64 + 1..=revision).collect();
    assert_eq!(found(&dir), (last, Vec::new()));
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_nothing_is_lost_when_it_goes() {
    type Obstacle = (&'static str, fn(&Path), fn(&Path));
    let obstacles: [Obstacle; 3] = [
        ("isn't a directory", |dir| fs::write(dir, "x").unwrap(), |dir| fs::remove_file(dir).unwrap()),
        (
            "journal: it isn't a regular file",
            |dir| fs::create_dir_all(dir.join(JOURNAL)).unwrap(),
            |dir| fs::remove_dir(dir.join(JOURNAL)).unwrap(),
        ),
        (
            "lock: it isn't a regular file",
            |dir| fs::create_dir_all(dir.join(LOCK)).unwrap(),
            |dir| fs::remove_dir(dir.join(LOCK)).unwrap(),
        ),
    ];
    for (why, place, remove) in obstacles {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("state");
        place(&dir);
        let (journal, first) = open(&dir);
        assert!(first.entries.is_empty() && first.trouble[0].contains(why), "{:?}", first.trouble);
        is_not_kept(&journal.keep(&entry(1)).await, why);
        assert!(journal.trouble().borrow().as_ref().is_some_and(|trouble| trouble.contains(why)));
        remove(&dir);
        // With the next change, all that came before.
        assert_eq!(journal.keep(&entry(2)).await, Kept::Yes, "{why}");
        assert_eq!(*journal.trouble().borrow(), None);
        journal.close();
        assert_eq!(found(&dir).0, [1, 2], "{why}");
    }
}

#[tokio::test]
async fn what_could_not_be_kept_is_tried_again_by_itself() {
    let (_above, dir) = state();
    fs::create_dir_all(dir.join(JOURNAL)).unwrap();
    let (journal, _) = open(&dir);
    is_not_kept(&journal.keep(&entry(1)).await, "regular file");
    fs::remove_dir(dir.join(JOURNAL)).unwrap();
    recovered(&journal).await;
    assert_eq!(journal.close(), Closed::Kept);
    assert_eq!(found(&dir), (vec![1], Vec::new()));
}

#[test]
fn the_end_tells_what_is_lost() {
    let (_above, dir) = state();
    fs::create_dir_all(dir.join(JOURNAL)).unwrap();
    let (journal, _) = open(&dir);
    drop((journal.keep(&entry(1)), journal.keep(&entry(2))));
    assert_eq!(journal.close(), Closed::Lost { entries: 2 });
}

#[test]
fn what_a_thread_holds_that_does_not_come_back_is_lost_too() {
    let journal = Journal { desk: Arc::new(Desk::new(String::new())) };
    drop(journal.keep(&entry(1)));
    assert_eq!(journal.desk.take(None).lines.len(), 1);
    drop(journal.keep(&entry(2)));
    assert_eq!(journal.close(), Closed::Lost { entries: 2 });
}

#[test]
fn where_too_much_waits_the_newest_stays() {
    let desk = Desk::new(String::new());
    let lay = |revision| drop(desk.lay(Line::of(&entry(revision)).unwrap()));
    (1..=HISTORY as u64 + 7).for_each(lay);
    let lines = desk.take(None).lines;
    let ends = [&lines[0], &lines[lines.len() - 1]].map(|line| line.entry::<u64>().unwrap().overrides);
    assert_eq!((lines.len(), ends), (HISTORY, [8, HISTORY as u64 + 7]));
}

/// A thread that doesn't come is one that waits for a disk.
#[tokio::test]
async fn a_disk_that_hangs_holds_up_one_change_and_no_second() {
    let (_above, dir) = state();
    let journal = Journal { desk: Arc::new(Desk::new("the disk hangs".to_owned())) };
    is_not_kept(&journal.keep(&entry(1)).await, "the disk hangs");
    assert_eq!(journal.trouble().borrow().as_deref(), Some("the disk hangs"));
    let at_once = timeout(std::time::Duration::ZERO, journal.keep(&entry(2)));
    is_not_kept(&at_once.await.unwrap(), "the disk hangs");
    let (start, _started) = sync_channel(1);
    let writer = Writer::new(dir.clone(), Arc::clone(&journal.desk));
    thread::spawn(move || writer.run(&start));
    recovered(&journal).await;
    assert_eq!(journal.keep(&entry(3)).await, Kept::Yes);
    assert_eq!(journal.close(), Closed::Kept);
    assert_eq!(found(&dir), (vec![1, 2, 3], Vec::new()));
}

/// A rollback of one process was undone by the other's next line, and again by the restart.
#[tokio::test]
async fn what_another_process_has_kept_meanwhile_is_never_written_over() {
    let (_above, dir) = state();
    let (first, _) = open(&dir);
    assert_eq!(first.keep(&entry(1)).await, Kept::Yes);
    let (second, read) = open(&dir);
    assert_eq!(read.entries.len(), 1);
    is_not_kept(&second.keep(&entry(9)).await, "another crossfade uses");
    assert_eq!(first.keep(&entry(2)).await, Kept::Yes);
    assert_eq!(first.close(), Closed::Kept);
    is_not_kept(&second.keep(&entry(10)).await, "doesn't serve by: restart it");
    second.close();
    assert_eq!(found(&dir).0, [1, 2]);
}

/// What couldn't be read at start was undone as soon as it could be.
#[tokio::test]
async fn what_could_not_be_read_at_start_is_never_written_over() {
    let (_above, dir) = state();
    fs::create_dir_all(dir.join(JOURNAL)).unwrap();
    let (journal, read) = open(&dir);
    assert!(read.is_unread && read.entries.is_empty());
    fs::remove_dir(dir.join(JOURNAL)).unwrap();
    fs::write(dir.join(JOURNAL), Line::of(&entry(1)).unwrap().bytes()).unwrap();
    is_not_kept(&journal.keep(&entry(2)).await, "doesn't serve by: restart it");
    journal.close();
    assert_eq!(found(&dir).0, [1]);
}

#[tokio::test]
async fn a_file_or_directory_that_is_gone_or_replaced_is_written_anew_whole() {
    let changes: [fn(&Path); 4] = [
        |dir| fs::remove_file(dir.join(JOURNAL)).unwrap(),
        |dir| fs::rename(dir, dir.with_extension("moved")).unwrap(),
        |dir| {
            fs::rename(dir, dir.with_extension("moved")).unwrap();
            fs::create_dir(dir).unwrap();
        },
        |dir| fs::write(dir.join(JOURNAL), Line::of(&entry(1)).unwrap().bytes()).unwrap(),
    ];
    for change in changes {
        let (_above, dir) = state();
        let (journal, _) = open(&dir);
        assert_eq!(journal.keep(&entry(1)).await, Kept::Yes);
        assert_eq!(journal.keep(&entry(2)).await, Kept::Yes);
        change(&dir);
        assert_eq!(journal.keep(&entry(3)).await, Kept::Yes);
        journal.close();
        assert_eq!(found(&dir), (vec![1, 2, 3], Vec::new()));
    }
}

#[tokio::test]
async fn two_never_write_one_journal_and_the_second_goes_on_behind_the_first() {
    let (_above, dir) = state();
    let (old, _) = open(&dir);
    assert_eq!(old.keep(&entry(1)).await, Kept::Yes);
    let (new, first) = open(&dir);
    assert_eq!(first.entries, [entry(1)]);
    assert!(first.trouble[0].starts_with("another crossfade uses "), "{:?}", first.trouble);
    is_not_kept(&new.keep(&entry(3)).await, "another crossfade uses");
    old.release();
    recovered(&new).await;
    is_not_kept(&old.keep(&entry(9)).await, "closed");
    assert_eq!(new.close(), Closed::Kept);
    assert_eq!(found(&dir), (vec![1, 3], Vec::new()));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// An upgrade that came to nothing: what the new process has written is no stranger's, and the old one goes on.
#[test]
fn what_was_lent_is_gone_on_with() {
    let (_above, dir) = state();
    let (runtime, (journal, _)) = (runtime(), open(&dir));
    assert_eq!(runtime.block_on(journal.keep(&entry(1))), Kept::Yes);
    assert!(runtime.block_on(journal.lend()));
    let (other, seen) = open(&dir);
    assert_eq!((seen.entries.len(), seen.trouble.len()), (1, 0), "nobody else has it");
    assert_eq!(runtime.block_on(other.keep(&entry(2))), Kept::Yes);
    assert_eq!(other.close(), Closed::Kept);
    assert_eq!(runtime.block_on(journal.take_back()), Some(2));
    assert_eq!(runtime.block_on(journal.keep(&entry(3))), Kept::Yes);
    assert_eq!(journal.close(), Closed::Kept);
    assert_eq!(found(&dir), (vec![1, 2, 3], Vec::new()));
}

/// An upgrade that went well.
#[test]
fn who_has_lent_it_ends_without_a_word() {
    let (_above, dir) = state();
    let (runtime, (journal, _)) = (runtime(), open(&dir));
    assert_eq!(runtime.block_on(journal.keep(&entry(1))), Kept::Yes);
    assert!(runtime.block_on(journal.lend()));
    let (other, _) = open(&dir);
    assert_eq!(journal.close(), Closed::Kept);
    assert_eq!(*journal.trouble().borrow(), None);
    assert_eq!(runtime.block_on(other.keep(&entry(2))), Kept::Yes);
    assert_eq!(other.close(), Closed::Kept);
    assert_eq!(found(&dir), (vec![1, 2], Vec::new()));
}
