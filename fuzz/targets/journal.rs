//! A journal is read whatever became of it: good lines as they were written, damaged ones not at all.

#![no_main]

use crossfade_fuzz::control::journal::{self, Entry};
use crossfade_fuzz::control::record::Record;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for cut in [false, true] {
        let read = journal::read(data, cut);
        assert!(read.torn <= data.len() && read.bad <= data.len());
        for (line, entry) in read.lines.iter().zip(&read.entries) {
            assert!(line.ends_with(b"\n"));
            let there = data.windows(line.len()).any(|there| there == line);
            assert!(there, "a line is never mended");
            let again = journal::read(line, false);
            assert_eq!((again.lines.len(), again.bad, again.torn), (1, 0, 0));
            assert_eq!(&again.entries[0], entry);
        }
    }
    let written = entry(String::from_utf8_lossy(data).into_owned());
    let Some(line) = journal::line(&written) else { return };
    // Behind whatever is there already, in the same file, an entry is found as it was written.
    let file = [data, b"\n", line.as_slice()].concat();
    let last = journal::read(&file, false).entries.pop().expect("there is one");
    assert_eq!(last.as_ref(), Some(&written));
    // One byte that rots takes the line with it, and nothing else.
    let mut rotten = [line.as_slice(), line.as_slice()].concat();
    let at = data.len() % (line.len() - 1);
    rotten[at] ^= 1;
    let read = journal::read(&rotten, false);
    assert_eq!(read.lines.last(), Some(&line), "the other is whole");
    assert!(read.bad > 0 && read.lines.iter().all(|left| *left == line));
});

fn entry(reason: String) -> Entry<Value> {
    let text = str::to_owned;
    let record = Record {
        revision: 7,
        at: text("2026-01-02T03:04:05Z"),
        actor: text("uid 1000"),
        via: text("socket"),
        command: text("shift fly 5%"),
        reason: Some(reason),
        changes: Vec::new(),
        undoes: None,
    };
    Entry { record, overrides: Value::from(7) }
}
