//! The way of access records from the workers to standard output or a file.
//!
//! `app` opens the [`AccessLog`]; each worker has a [`Buffer`] on one of its sinks, writes its records there
//! and flushes it when it is full or, by the worker's timer, old. Chunks go over a bounded queue to one
//! thread, which alone touches the target. A worker must never wait for it: what the queue doesn't take is
//! dropped and counted, to the record. So is what the target doesn't take (disk full, pipe closed); writing
//! goes on with the next chunk.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use super::events::{AccessLogEvent, Event};
use super::metrics::Metrics;
use super::record::{Clock, Record};
use crate::config::limits::{ACCESS_LOG_CHUNK, ACCESS_LOG_CLOSE, ACCESS_LOG_PAUSE, ACCESS_LOG_QUEUE};
use crate::config::model::{AccessFormat, LogTarget};

/// The access log, as the control thread holds it.
#[derive(Debug)]
pub struct AccessLog {
    sink: Sink,
    /// Disconnected once everything is written.
    done: Receiver<()>,
}

impl AccessLog {
    /// Opens the target and starts the writer. Without a target there is neither, and sinks take nothing.
    pub fn open(target: Option<&LogTarget>, metrics: &Metrics) -> Result<Self, OpenError> {
        match target {
            None => Ok(Self { sink: Sink { queue: None, metrics: metrics.clone() }, done: channel().1 }),
            // A descriptor of our own: `io::stdout` would buffer, and forget what it couldn't write.
            Some(LogTarget::Stdout) => {
                let file = io::stdout().as_fd().try_clone_to_owned().map_err(OpenError::Stdout)?;
                Self::start(Output::new(file.into(), None), metrics)
            }
            Some(LogTarget::File(path)) => {
                let file = append(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
                Self::start(Output::new(file, Some(path.clone())), metrics)
            }
        }
    }

    /// Where a worker's buffer goes.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Writes everything that was flushed until now, and ends the writer. Waits 2 s at the most. Called when
    /// no worker is left: what is pushed later is dropped.
    pub fn close(self) -> Closed {
        self.close_within(ACCESS_LOG_CLOSE)
    }

    fn close_within(self, wait: Duration) -> Closed {
        let Some(queue) = &self.sink.queue else { return Closed::Written };
        queue.asked.close.store(true, Ordering::Release);
        queue.wake();
        match self.done.recv_timeout(wait) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Closed::Written,
            Err(RecvTimeoutError::Timeout) => Closed::GaveUp,
        }
    }

    fn start(output: Output, metrics: &Metrics) -> Result<Self, OpenError> {
        let (sender, chunks) = sync_channel(ACCESS_LOG_QUEUE);
        let (end, done) = channel();
        let asked = Arc::new(Asked::default());
        let writer =
            Writer { output, chunks, asked: Arc::clone(&asked), metrics: metrics.clone(), failing: false };
        let run = move || writer.run(end);
        thread::Builder::new().name("access-log".into()).spawn(run).map_err(OpenError::Thread)?;
        Ok(Self { sink: Sink { queue: Some(Queue { sender, asked }), metrics: metrics.clone() }, done })
    }
}

/// How [`AccessLog::close`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Everything is written, or counted as dropped.
    Written,
    /// The target took no more; what is left goes with the process.
    GaveUp,
}

/// Why the access log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be appended to.
    #[error("access log {} can't be opened: {source}; its directory must exist and be writable", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Standard output can't be used.
    #[error("access log can't be written to standard output: {0}; set access_log.target to a file, or off")]
    Stdout(#[source] io::Error),
    /// The writer's thread can't be started.
    #[error("access log has no thread to write it: {0}; raise the limit on threads")]
    Thread(#[source] io::Error),
}

/// A way into the access log.
#[derive(Debug, Clone)]
pub struct Sink {
    queue: Option<Queue>,
    metrics: Metrics,
}

impl Sink {
    /// Has the file opened anew, after it was moved away (SIGHUP). Returns at once; standard output stays as
    /// it is.
    pub fn reopen(&self) {
        if let Some(queue) = &self.queue {
            queue.asked.reopen.store(true, Ordering::Release);
            queue.wake();
        }
    }

    /// Sends the chunk off and leaves `bytes` empty. What isn't taken is counted, and its memory kept.
    fn send(&self, bytes: &mut Vec<u8>, records: u64) {
        let Some(queue) = &self.queue else { return bytes.clear() };
        let chunk = Message::Chunk { bytes: std::mem::take(bytes), records };
        match queue.sender.try_send(chunk) {
            Ok(()) => {}
            Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) => {
                self.metrics.access_log_dropped(records);
                if let Message::Chunk { bytes: mut kept, .. } = lost {
                    kept.clear();
                    *bytes = kept;
                }
            }
        }
    }
}

/// One worker's records, until there are enough of them to be worth a message.
#[derive(Debug)]
pub struct Buffer {
    sink: Sink,
    format: AccessFormat,
    clock: Clock,
    bytes: Vec<u8>,
    records: u64,
}

impl Buffer {
    /// An empty one. It takes no memory before the first record.
    pub fn new(sink: Sink, format: AccessFormat) -> Self {
        Self { sink, format, clock: Clock::default(), bytes: Vec::new(), records: 0 }
    }

    /// Whether records go anywhere; where they don't, there is no need to collect what they are made of.
    pub fn enabled(&self) -> bool {
        self.sink.queue.is_some()
    }

    /// Whether there is nothing to flush.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Writes a record, and flushes a full buffer.
    pub fn push(&mut self, record: &Record) {
        if !self.enabled() {
            return;
        }
        if self.bytes.capacity() == 0 {
            // Room for the record that fills the chunk, as long as a usual one.
            self.bytes.reserve(ACCESS_LOG_CHUNK + 1024);
        }
        record.write(self.format, &mut self.clock, &mut self.bytes);
        self.records += 1;
        if self.bytes.len() >= ACCESS_LOG_CHUNK {
            self.flush();
        }
    }

    /// Hands everything over to the writer: called by the worker's timer while the buffer isn't empty.
    pub fn flush(&mut self) {
        if !self.is_empty() {
            self.sink.send(&mut self.bytes, self.records);
            self.records = 0;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The sending end.
#[derive(Debug, Clone)]
struct Queue {
    sender: SyncSender<Message>,
    asked: Arc<Asked>,
}

impl Queue {
    /// A writer that isn't waiting looks at what was asked before it waits again: a full queue needs no
    /// waking.
    fn wake(&self) {
        self.sender.try_send(Message::Wake).unwrap_or_default();
    }
}

/// What the writer is asked for beside the queue, which may be full.
#[derive(Debug, Default)]
struct Asked {
    reopen: AtomicBool,
    close: AtomicBool,
}

#[derive(Debug)]
enum Message {
    /// Whole lines, one a record.
    Chunk { bytes: Vec<u8>, records: u64 },
    /// Look at what was asked.
    Wake,
}

/// The thread that writes.
struct Writer {
    output: Output,
    chunks: Receiver<Message>,
    asked: Arc<Asked>,
    metrics: Metrics,
    /// Whether the last chunk was lost.
    failing: bool,
}

impl Writer {
    /// Ends when asked to, with the queue empty, or when nobody is left to send. `_end` goes with it.
    fn run(mut self, _end: Sender<()>) {
        while let Some(message) = self.next() {
            if self.asked.reopen.swap(false, Ordering::AcqRel) {
                self.output.reopen();
            }
            if let Message::Chunk { bytes, records } = message {
                self.write(&bytes, records);
            }
        }
    }

    fn next(&self) -> Option<Message> {
        if self.asked.close.load(Ordering::Acquire) {
            self.chunks.try_recv().ok()
        } else {
            self.chunks.recv().ok()
        }
    }

    /// Writes a chunk; counts the records that didn't make it whole, and tells of the first and the end of
    /// it.
    fn write(&mut self, bytes: &[u8], records: u64) {
        let (written, outcome) = self.output.write(bytes);
        let whole = bytes[..written].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.metrics.access_log_dropped(records.saturating_sub(whole));
        match (&outcome, self.failing) {
            (Err(error), false) => Event::from(AccessLogEvent::Failing { error }).log(),
            (Ok(()), true) => Event::from(AccessLogEvent::Recovered).log(),
            (Ok(()), false) | (Err(_), true) => {}
        }
        self.failing = outcome.is_err();
    }
}

/// What is written to.
struct Output {
    file: File,
    /// For opening it anew; standard output has none.
    path: Option<PathBuf>,
    /// Whether it ends within a line, because the rest of it failed.
    torn: bool,
}

impl Output {
    fn new(file: File, path: Option<PathBuf>) -> Self {
        Self { file, path, torn: false }
    }

    /// Writes as much as goes, and says how much that is. A torn line is ended first, so that it costs no
    /// other.
    fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        if self.torn {
            match self.write_all(b"\n") {
                (_, Ok(())) => self.torn = false,
                (_, failed) => return (0, failed),
            }
        }
        let (written, outcome) = self.write_all(bytes);
        self.torn = bytes[..written].last().is_some_and(|&last| last != b'\n');
        (written, outcome)
    }

    fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever shares our standard output can make it non-blocking; it is waited for as if it
                // weren't.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(ACCESS_LOG_PAUSE),
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append(path) {
            Ok(file) => {
                *self = Self::new(file, Some(path.clone()));
                self.path.iter().for_each(|path| Event::from(AccessLogEvent::Reopened { path }).log());
            }
            Err(error) => Event::from(AccessLogEvent::NotReopened { path, error: &error }).log(),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::net::Ipv4Addr;
    use std::os::fd::OwnedFd;

    use http::{Method, Version};

    use super::super::metrics::Reasons;
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new("0", Reasons::default())
    }

    fn dropped(metrics: &Metrics) -> u64 {
        let text = metrics.encode();
        let find = |line: &str| line.strip_prefix("crossfade_access_log_dropped_total ")?.parse().ok();
        text.lines().find_map(find).unwrap()
    }

    fn record() -> Record {
        Record::new(0, Method::GET, Version::HTTP_11, Ipv4Addr::LOCALHOST.into())
    }

    /// A log into a pipe, and its reading end.
    fn piped(metrics: &Metrics) -> (AccessLog, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        (AccessLog::start(Output::new(File::from(OwnedFd::from(writer)), None), metrics).unwrap(), reader)
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn everything_is_written_when_closed() {
        let (directory, metrics) = (tempfile::tempdir().unwrap(), metrics());
        let path = directory.path().join("access.log");
        let log = AccessLog::open(Some(&LogTarget::File(path.clone())), &metrics).unwrap();
        let mut buffers = [(); 2].map(|()| Buffer::new(log.sink(), AccessFormat::Json));
        for _ in 0..5000 {
            buffers.iter_mut().for_each(|buffer| buffer.push(&record()));
        }
        drop(buffers);
        assert_eq!(log.close(), Closed::Written);
        assert_eq!((lines(&path) as u64 + dropped(&metrics), dropped(&metrics)), (10_000, 0));
    }

    #[test]
    fn without_a_target_nothing_is_done() {
        let metrics = metrics();
        let log = AccessLog::open(None, &metrics).unwrap();
        let mut buffer = Buffer::new(log.sink(), AccessFormat::Text);
        buffer.push(&record());
        log.sink().reopen();
        assert!(!buffer.enabled() && buffer.is_empty());
        assert_eq!((log.close(), dropped(&metrics)), (Closed::Written, 0));
    }

    #[test]
    fn a_file_that_was_moved_is_opened_anew() {
        let (directory, metrics) = (tempfile::tempdir().unwrap(), metrics());
        let (path, moved) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
        let log = AccessLog::open(Some(&LogTarget::File(path.clone())), &metrics).unwrap();
        let mut buffer = Buffer::new(log.sink(), AccessFormat::Text);
        std::fs::rename(&path, &moved).unwrap();
        log.sink().reopen();
        buffer.push(&record());
        drop(buffer);
        assert_eq!(log.close(), Closed::Written);
        assert_eq!((lines(&path), lines(&moved)), (1, 0));
    }

    #[test]
    fn what_the_queue_does_not_take_is_counted_to_the_record() {
        let metrics = metrics();
        let (log, mut reader) = piped(&metrics);
        let mut buffer = Buffer::new(log.sink(), AccessFormat::Json);
        let pushed = 200 * (ACCESS_LOG_QUEUE as u64);
        for _ in 0..pushed {
            buffer.push(&record());
        }
        drop(buffer);
        let lost = dropped(&metrics);
        assert!(lost > 0);
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count() as u64
        });
        assert_eq!(log.close(), Closed::Written);
        assert_eq!(reading.join().unwrap() + lost, pushed);
    }

    #[test]
    fn a_reader_that_is_gone_costs_records_and_nothing_else() {
        let metrics = metrics();
        let (log, reader) = piped(&metrics);
        drop(reader);
        let mut buffer = Buffer::new(log.sink(), AccessFormat::Json);
        for _ in 0..3 {
            buffer.push(&record());
            buffer.flush();
        }
        drop(buffer);
        assert_eq!((log.close(), dropped(&metrics)), (Closed::Written, 3));
    }

    #[test]
    fn a_reader_that_stands_still_does_not_hold_up_the_end() {
        let metrics = metrics();
        let (log, _reader) = piped(&metrics);
        let mut buffer = Buffer::new(log.sink(), AccessFormat::Json);
        for _ in 0..1000 {
            buffer.push(&record());
        }
        drop(buffer);
        assert_eq!(log.close_within(Duration::from_millis(50)), Closed::GaveUp);
    }

    #[test]
    fn a_line_reaches_a_reader_as_soon_as_it_is_flushed() {
        let metrics = metrics();
        let (log, reader) = piped(&metrics);
        let mut buffer = Buffer::new(log.sink(), AccessFormat::Text);
        buffer.push(&record());
        assert!(!buffer.is_empty());
        buffer.flush();
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).unwrap();
        assert!(line.starts_with("time=1970-01-01T00:00:00.000Z "));
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next_chunk() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = Output::new(File::from(OwnedFd::from(writer)), None);
        assert_eq!(output.write(b"whole\nto").0, 8);
        assert_eq!(output.write(b"next\n").0, 5);
        drop(output);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "whole\nto\nnext\n");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_counted() {
        let metrics = metrics();
        let log = AccessLog::open(Some(&LogTarget::File("/dev/full".into())), &metrics).unwrap();
        Buffer::new(log.sink(), AccessFormat::Json).push(&record());
        assert_eq!((log.close(), dropped(&metrics)), (Closed::Written, 1));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let target = LogTarget::File("/nowhere/access.log".into());
        let error = AccessLog::open(Some(&target), &metrics()).unwrap_err().to_string();
        assert!(error.starts_with("access log /nowhere/access.log can't be opened: "), "{error}");
    }
}
