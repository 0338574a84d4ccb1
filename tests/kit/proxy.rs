//! The program itself, as a user starts it: its process, its addresses, its metrics and records.
//!
//! It must never outlive its test, and fails a test in which it panicked.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde_json::Value;
use tempfile::TempDir;

use super::config::{Config, DIRECTORY};
use super::message::Message;
use super::visitor::{Handshake, Visitor};
use super::{DEADLINE, wait_until};

/// A running proxy; it is killed when dropped.
pub(crate) struct Proxy {
    /// Where visitors are served.
    pub(crate) address: SocketAddr,
    /// Where they are served over TLS.
    pub(crate) https: Option<SocketAddr>,
    /// Where metrics and health are.
    pub(crate) metrics: SocketAddr,
    /// A directory of its own.
    pub(crate) directory: TempDir,
    child: Child,
    early: Vec<String>,
    events: Receiver<String>,
    records: Receiver<String>,
}

/// The program, ready to be started with further words.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_crossfade"))
}

impl Proxy {
    /// Starts it with a configuration file of this content, and waits until it serves.
    pub(crate) fn start(config: &Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("crossfade.toml");
        let shown = directory.path().display().to_string();
        std::fs::write(&path, config.text().replace(DIRECTORY, &shown)).unwrap();
        Self::start_in(directory, &path)
    }

    /// Kills it with SIGKILL and starts it anew in the same directory.
    pub(crate) fn restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.kill_followers();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        let path = directory.path().join("crossfade.toml");
        Self::start_in(directory, &path)
    }

    /// The same with so many descriptors at most.
    pub(crate) fn start_with_descriptors(config: &Config, most: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("crossfade.toml");
        let shown = directory.path().display().to_string();
        std::fs::write(&path, config.text().replace(DIRECTORY, &shown)).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]).arg(program().get_program());
        Self::start_by(shell, directory, &path)
    }

    /// How much processor time it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let behind_name = stat.rsplit_once(')').expect("the name is in brackets").1;
        let ticks =
            behind_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
        // Linux has a hundred a second.
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// Starts it with the configuration at `path`, which is in `directory` or behind a symlink in it.
    pub(crate) fn start_in(directory: TempDir, path: &Path) -> Self {
        Self::start_by(program(), directory, path)
    }

    /// The same by `program`, with what is set of it already.
    pub(crate) fn start_by(mut program: Command, directory: TempDir, path: &Path) -> Self {
        let mut child = program
            .args(["run", "--config"])
            .arg(path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let events = lines(child.stderr.take().expect("standard error is piped"));
        let records = lines(child.stdout.take().expect("standard output is piped"));
        let (mut http, mut https, mut metrics) = (None, None, None);
        let mut told = Vec::new();
        while http.is_none() || metrics.is_none() {
            let Ok(line) = events.recv_timeout(DEADLINE) else {
                panic!("it doesn't start:\n{}", told.join("\n"));
            };
            if let Some((_, address)) = line.split_once("listening on http://") {
                let purpose = if address.contains("(metrics)") { &mut metrics } else { &mut http };
                *purpose = address.split_whitespace().next().and_then(|address| address.parse().ok());
            }
            if let Some((_, address)) = line.split_once("listening on https://") {
                https = address.split_whitespace().next().and_then(|address| address.parse().ok());
            }
            told.push(line);
        }
        let (address, metrics) = (http.expect("it is known"), metrics.expect("it is known"));
        Self { address, https, metrics, directory, child, early: told, events, records }
    }

    /// Its configuration file.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.directory.path().join("crossfade.toml")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection to it.
    pub(crate) fn visit(&self) -> Visitor {
        Visitor::connect(self.address)
    }

    /// A new connection of a visitor who takes little at a time.
    pub(crate) fn visit_narrowly(&self) -> Visitor {
        Visitor::connect_narrowly(self.address)
    }

    /// A new connection over TLS, asking for `name`.
    pub(crate) fn visit_tls(
        &self,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<(Visitor, Handshake)> {
        Visitor::over_tls(self.https.expect("it listens for TLS"), client, name)
    }

    /// The answer to a GET of `path` on a new connection.
    pub(crate) fn get(&self, path: &str) -> Message {
        self.visit().get(path)
    }

    /// Status and body of `path` on the metrics listener.
    pub(crate) fn told_at(&self, path: &str) -> (u16, String) {
        let mut visitor = Visitor::connect(self.metrics);
        visitor.send(format!("GET {path} HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n"));
        let response = visitor.response();
        (response.status(), response.text())
    }

    /// The sum of all series of `name` that have these labels; 0 where there is none.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum(&self.told_at("/metrics").1, name, labels).unwrap_or(0.0)
    }

    /// Whether there is a series of `name` with these labels.
    pub(crate) fn has_series(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        sum(&self.told_at("/metrics").1, name, labels).is_some()
    }

    /// Waits until the sum of the series is `value`.
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut last = f64::NAN;
        wait_until(&format!("{name} {labels:?} = {value}"), || {
            last = self.metric(name, labels);
            (last - value).abs() < 1e-9
        });
    }

    /// The next access record.
    pub(crate) fn record(&self) -> Value {
        let line = self.records.recv_timeout(DEADLINE).expect("an access record comes");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// The access records of everything that has ended by now.
    pub(crate) fn records(&self) -> Vec<Value> {
        // A request that is refused without a backend, whose record stands behind those of all before it.
        let mut last = self.visit();
        last.send("GET /the-last HTTP/1.1\r\nHost: last\r\nExpect: the-last\r\n\r\n");
        assert_eq!(last.response().status(), 417);
        std::iter::from_fn(|| Some(self.record()).filter(|record| record["path"] != "/the-last")).collect()
    }

    /// The one access record of everything that has ended by now.
    pub(crate) fn only_record(&self) -> Value {
        let mut records = self.records();
        assert_eq!(records.len(), 1, "one record each: {records:#?}");
        records.remove(0)
    }

    /// Waits for a line on standard error with `text` in it; those before it are forgotten, but for those of the start.
    pub(crate) fn wait_for_event(&self, text: &str) -> String {
        if let Some(line) = self.early.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let since = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(since.elapsed());
            match self.events.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(_) => panic!("waited in vain for the event {text:?}"),
            }
        }
    }

    /// The memory it has in use, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells VmRSS");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// Sends it a signal: `TERM`, `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status();
        assert!(sent.unwrap().success(), "the signal is sent");
    }

    /// Its exit code, if it has ended by itself.
    pub(crate) fn try_exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().expect("it ends by itself"))
    }

    /// Waits for it to end by itself; its exit code.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let since = Instant::now();
        loop {
            match self.events.recv_timeout(DEADLINE.saturating_sub(since.elapsed())) {
                Ok(line) => assert!(!line.contains("panicked"), "{line}"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it doesn't end"),
            }
        }
        self.child.wait().unwrap().code().expect("it ends by itself")
    }

    /// Whoever followed it is in its group, where it had one of its own.
    fn kill_followers(&self) {
        let group = format!("kill -KILL -{} 2>/dev/null", self.pid());
        let _ = Command::new("sh").args(["-c", &group]).status();
    }

    /// Asks it to end and waits for that; its exit code.
    pub(crate) fn terminate(&mut self) -> i32 {
        self.signal("TERM");
        self.exit_code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.kill_followers();
        if !std::thread::panicking() {
            let panicked = self.events.try_iter().find(|line| line.contains("panicked"));
            assert_eq!(panicked, None, "the proxy panicked");
        }
    }
}

/// The lines of a pipe, until it ends.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe).lines().map_while(Result::ok);
        lines.all(|line| tell.send(line).is_ok())
    });
    told
}

fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (found, value) = rest.rsplit_once(' ')?;
        let whole_name = found.is_empty() || found.starts_with('{');
        let fits = whole_name && labels.iter().all(|label| found.contains(label.as_str()));
        fits.then(|| value.parse::<f64>().expect("a sample is a number"))
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}
