//! Standard error as events are written to it: over a bounded queue, by a thread of its own.
//!
//! `events` gives it to the subscriber as its writer. A pipe that nobody reads must never hold up whoever tells an
//! event: what the queue doesn't take is dropped, and counted in the next line that is written.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use tracing_subscriber::fmt::MakeWriter;

use crate::config::limits::{EVENT_CLOSE, EVENT_QUEUE};

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub struct Queue {
    messages: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the thread, for the life of the process; [`flush`] waits for it.
    ///
    /// # Errors
    /// When the machine has no thread left.
    pub fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Self::spawn(to)?;
        // Events are started once; a second start is refused by whoever asked for it.
        let _ = STARTED.set(queue.clone());
        Ok(queue)
    }

    fn spawn(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, waiting) = sync_channel(EVENT_QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        thread::Builder::new().name("events".into()).spawn(move || write(to, &waiting, &counted))?;
        Ok(Self { messages, lost })
    }

    fn flush(&self) {
        let (done, written) = channel();
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            // Whether it came to that or not, the end isn't held up any longer.
            let _ = written.recv_timeout(EVENT_CLOSE);
        }
    }
}

impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.messages.try_send(Message::Line(line.into())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Queue {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> &'w Self {
        self
    }
}

/// Waits until what was told is written, or no longer.
pub fn flush() {
    STARTED.get().into_iter().for_each(Queue::flush);
}

static STARTED: OnceLock<Queue> = OnceLock::new();

#[derive(Debug)]
enum Message {
    /// One event, with its line's end.
    Line(Box<[u8]>),
    /// Say so when everything before is written.
    Flush(Sender<()>),
}

/// Errors have nowhere to be told.
fn write(mut to: impl Write, waiting: &Receiver<Message>, lost: &AtomicU64) {
    while let Ok(message) = waiting.recv() {
        match message {
            Message::Line(line) => drop(to.write_all(&line)),
            Message::Flush(done) => drop(done.send(())),
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => drop(writeln!(to, "{lost} events were dropped: standard error took no more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing until it is let.
    struct Stalled(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.send(bytes.into()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A pipe that nobody read stopped the control thread: no health, no reload, no end.
    #[test]
    fn who_tells_an_event_never_waits_and_what_is_dropped_is_counted() {
        let ((let_go, held), (sender, written)) = (channel(), channel());
        let queue = Queue::spawn(Stalled(held, sender)).unwrap();
        let told = EVENT_QUEUE * 2;
        for _ in 0..told {
            (&queue).write_all(b"x\n").unwrap();
        }
        drop((let_go, queue));
        let text: String = written.iter().map(|part| String::from_utf8(part).unwrap()).collect();
        let lines = text.lines().filter(|line| *line == "x").count();
        assert!((EVENT_QUEUE..=EVENT_QUEUE + 1).contains(&lines), "{lines}");
        let lost = told - lines;
        assert!(text.contains(&format!("{lost} events were dropped")), "{text}");
    }
}
