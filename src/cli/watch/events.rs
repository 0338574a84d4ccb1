//! Pure: server-sent events out of the bytes they come in (WHATWG HTML, 9.2.6).
//!
//! `link` feeds it. It must never keep more of an event than its bound.

use crate::config::limits::WATCH_EVENT;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What it is called; empty where nothing is said.
    pub(super) name: String,
    /// What it says.
    pub(super) data: String,
}

/// What has come of the event that isn't whole yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    name: String,
    data: String,
    after_return: bool,
}

impl Events {
    /// The events that are whole with these bytes; nothing if one has grown too large.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        for &byte in bytes {
            let second_half = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > WATCH_EVENT {
                return None;
            }
        }
        Some(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let (name, mut data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return data.pop().map(|_| Event { name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\r\nevent: status\r\ndata: {\"a\":\r\ndata:1}\r\n\r\n\
                          id: 7\nevent: revision\ndata: é\n\n\nevent: empty\n\ndata\n\ndata: cut";

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_whole_however_the_bytes_are_cut() {
        let expected = [event("status", "{\"a\":\n1}"), event("revision", "é"), event("", "")];
        for size in [1, 2, 3, 7, STREAM.len()] {
            let mut events = Events::default();
            let found: Vec<Event> =
                STREAM.as_bytes().chunks(size).flat_map(|chunk| events.take(chunk).unwrap()).collect();
            assert_eq!(found, expected, "by {size}");
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        assert_eq!(Events::default().take(&vec![b'x'; WATCH_EVENT + 1]), None);
        let mut events = Events::default();
        let line = format!("data: {}\n", "x".repeat(1 << 20)).repeat(9);
        assert_eq!(events.take(line.as_bytes()), None);
    }
}
