//! What may happen to the bytes of a journal, and what is read of them then.

use proptest::prelude::*;

use super::*;

/// An entry whose overrides are its own revision.
fn entry(revision: u64) -> Entry<u64> {
    let text = str::to_owned;
    let record = Record {
        revision,
        at: text("2026-01-02T03:04:05Z"),
        actor: text("uid 1000"),
        via: text("socket"),
        command: format!("shift fly {}%", revision % 100),
        // What looks like a line inside a line is none.
        reason: Some(text("line\nend 0123456789abcdef {\"record\":1}")),
        changes: Vec::new(),
        undoes: None,
    };
    Entry { record, overrides: revision }
}

fn line(revision: u64) -> Line {
    Line::of(&entry(revision)).unwrap()
}

fn file(revisions: impl IntoIterator<Item = u64>) -> Vec<u8> {
    revisions.into_iter().flat_map(|revision| line(revision).bytes().to_vec()).collect()
}

fn revisions(lines: &Lines) -> Vec<u64> {
    lines.iter().map(|line| line.entry::<u64>().unwrap().record.revision).collect()
}

#[test]
fn an_entry_is_found_as_it_was_written() {
    let reading = Reading::of(&file([7]), false);
    assert_eq!(reading.lines.iter().next().unwrap().entry(), Some(entry(7)));
    assert_eq!((reading.count, reading.bad, reading.torn, reading.is_broken()), (1, 0, 0, false));
}

/// Another version must find what this one wrote.
#[test]
fn the_form_of_a_line_is_fixed() {
    assert_eq!(
        String::from_utf8_lossy(line(5).bytes()),
        "3100d028eaccc960 {\"record\":{\"revision\":5,\"at\":\"2026-01-02T03:04:05Z\",\"actor\":\"uid 1000\",\
         \"via\":\"socket\",\"command\":\"shift fly 5%\",\"reason\":\"line\\nend 0123456789abcdef {\\\"record\\\":1}\",\
         \"changes\":[]},\"overrides\":5}\n"
    );
}

#[test]
fn cut_anywhere_it_has_exactly_the_whole_lines_before() {
    let whole = file(1..=4);
    for end in 0..=whole.len() {
        let reading = Reading::of(&whole[..end], false);
        let ends = memchr::memchr_iter(b'\n', &whole[..end]).count() as u64;
        assert_eq!(revisions(&reading.lines), (1..=ends).collect::<Vec<_>>(), "{end}");
        assert_eq!(reading.bad, 0, "{end}");
        assert_eq!(reading.torn > 0, end > 0 && whole[end - 1] != b'\n', "{end}");
    }
}

#[test]
fn a_flipped_bit_loses_its_line_and_no_other() {
    let whole = file(1..=3);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let lost = memchr::memchr_iter(b'\n', &whole[..bit / 8]).count() as u64 + 1;
        let reading = Reading::of(&bytes, false);
        let rest: Vec<u64> = (1..=3).filter(|revision| *revision != lost).collect();
        assert_eq!(revisions(&reading.lines), rest, "bit {bit}");
        assert!(reading.bad > 0 || reading.torn > 0, "bit {bit}");
    }
}

#[test]
fn a_file_that_is_read_from_its_middle_begins_with_the_next_line() {
    let whole = file(1..=3);
    let reading = Reading::of(&whole[10..], true);
    assert_eq!((revisions(&reading.lines), reading.bad, reading.is_broken()), (vec![2, 3], 0, true));
}

#[test]
fn the_last_thousand_are_kept_and_never_more_than_their_bytes() {
    let reading = Reading::of(&file(1..=HISTORY as u64 + 5), false);
    assert_eq!(revisions(&reading.lines), (6..=HISTORY as u64 + 5).collect::<Vec<_>>());
    assert_eq!(reading.count, HISTORY + 5);
    let mut lines = Lines::default();
    let large = Entry { record: entry(1).record, overrides: "x".repeat(JOURNAL_KEPT / 4) };
    (0..10).for_each(|_| lines.push(Line::of(&large).unwrap()));
    assert_eq!((lines.count(), lines.tail(10).len() <= JOURNAL_KEPT), (3, true));
}

#[test]
fn what_is_newer_is_what_stands_behind_the_last_that_both_have() {
    let lines = |revisions: &[u64]| {
        let mut lines = Lines::default();
        revisions.iter().for_each(|revision| lines.push(line(*revision)));
        lines
    };
    for (ours, file, newer) in [
        (&[1, 2, 3][..], &[][..], 3),
        (&[1, 2, 3], &[1, 2, 3], 0),
        (&[1, 2, 3], &[1], 2),
        // Another has gone on.
        (&[1, 2, 3], &[1, 2, 7], 1),
        // … and written it anew without the first.
        (&[1, 2, 3], &[3, 7], 0),
        (&[1, 2], &[7, 8], 2),
        (&[], &[7], 0),
    ] {
        assert_eq!(lines(ours).newer_than(&lines(file)), newer, "{ours:?} {file:?}");
    }
}

#[test]
fn what_is_too_large_goes_without_its_changes_or_not_at_all() {
    let mut large = entry(1);
    let change = |route: String| crate::control::record::Change { route, from: None, to: None };
    large.record.changes = vec![change("x".repeat(JOURNAL_LINE))];
    let brief = Line::of(&large).unwrap().entry::<u64>().unwrap();
    assert_eq!(brief, entry(1));
    let record = entry(1).record;
    let error = Line::of(&Entry { record, overrides: "x".repeat(JOURNAL_LINE) }).unwrap_err();
    assert_eq!(error.to_string(), "the change is too large to be kept");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, cut: bool) {
        prop_assert_eq!(Reading::of(&bytes, cut).lines.count(), 0);
    }

    /// A share that came back another one would be a change that nobody made.
    #[test]
    fn a_share_comes_back_as_it_was(share in 0.0..=100.0) {
        let line = Line::of(&Entry { record: entry(1).record, overrides: share }).unwrap();
        prop_assert_eq!(line.entry::<f64>().unwrap().overrides, share);
    }

    #[test]
    fn bytes_between_lines_hide_none(noise in "[0-9a-f {\"}\\PC]{0,80}", end in "\n?") {
        let noise = noise + &end;
        let bytes = [file([1]), noise.clone().into_bytes(), file([2]), noise.into_bytes()].concat();
        prop_assert_eq!(revisions(&Reading::of(&bytes, false).lines), [1, 2]);
    }
}
