//! Holds the README and ARCHITECTURE.md to what the program is and does.
//!
//! `cargo test` runs it. Configurations are loaded, command lines are run (those that serve, until they do), tables
//! are compared with the closed sets they list. It must never know a page's wording, only its form: fenced blocks,
//! tables, code in backticks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crossfade::config::{Loaded, load};
use crossfade::proxy::error::{Error, Failure};
use crossfade::proxy::refusal::Refusal;
use crossfade::proxy::shed::Shed;

const PROGRAM: &str = env!("CARGO_BIN_EXE_crossfade");
/// The pages for users: what they show must work.
const PAGES: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
/// How long a started program may take for a line; a name that can't be looked up takes two seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every failure, in the order of its reasons.
const FAILURES: [Failure; Failure::REASONS.len()] = [
    Failure::Unresolved,
    Failure::ConnectRefused,
    Failure::ConnectFailed,
    Failure::ConnectTimeout,
    Failure::Tls,
    Failure::Alpn,
    Failure::Closed,
    Failure::BadResponse,
    Failure::FirstByteTimeout,
    Failure::RequestTimeout,
    Failure::WriteTimeout,
    Failure::BodyBroken,
    Failure::BodyTimeout,
    Failure::TunnelBroken,
    Failure::Unhealthy,
    Failure::Platform,
];

#[test]
fn every_configuration_shown_loads_without_a_warning() {
    let shown = configurations();
    assert!(shown.len() >= 3, "the README shows a file, a shift and a rollback");
    for text in shown {
        let Loaded { warnings, .. } = load(&text, &|_| None)
            .unwrap_or_else(|problems| panic!("{}", problems.render("README.md", &text, false)));
        assert_eq!(warnings, [], "{text}");
    }
}

#[test]
fn every_command_line_shown_is_understood() {
    let lines = command_lines();
    assert!(lines.iter().any(|words| words[0] == "demo") && lines.iter().any(|words| words[0] == "check"));
    for words in lines {
        let output = program(Path::new("."), &words).arg("--help").output().expect("the program starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "crossfade {}\n{told}", words.join(" "));
    }
}

#[test]
fn every_check_shown_finds_the_file_good() {
    let folder = folder_with_the_file();
    for words in command_lines().into_iter().filter(|words| words[0] == "check") {
        let output = program(folder.path(), &words).output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_run_shown_serves_and_ends_by_a_signal() {
    let folder = folder_with_the_file();
    let runs: Vec<_> = command_lines().into_iter().filter(|words| words[0] == "run").collect();
    assert!(runs.len() >= 2, "the README starts with and without a file");
    for words in runs {
        let words: Vec<String> = words.iter().map(|word| on_any_port(word)).collect();
        let mut running = Running::start(&mut program(folder.path(), &words));
        running.wait_for("serving");
        assert!(running.terminate().success(), "crossfade {}", words.join(" "));
    }
}

#[test]
fn every_reason_has_its_row_with_its_status_and_no_row_is_left_over() {
    assert_eq!(FAILURES.map(Failure::reason), Failure::REASONS, "the list here is the program's");
    let errors = Refusal::ALL.map(Error::Refused).into_iter().chain(FAILURES.map(Error::Backend));
    let errors = errors.chain(Shed::ALL.map(Error::Shed)).chain([Error::Maintenance]);
    let expected: BTreeSet<(String, String)> =
        errors.map(|error| (error.reason().to_owned(), error.status().as_u16().to_string())).collect();
    let shown: BTreeSet<(String, String)> = reason_rows().into_iter().collect();
    let missing: Vec<_> = expected.difference(&shown).collect();
    let wrong: Vec<_> = shown.difference(&expected).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "missing: {missing:?}; wrong: {wrong:?}");
}

#[test]
fn every_metric_named_is_there_before_the_first_request() {
    let folder = folder_with_the_file();
    let mut running = Running::start(&mut program(folder.path(), &["run".to_owned()]));
    let line = running.wait_for("(metrics)");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
    running.wait_for("serving");
    let text = http_get(address, "/metrics");
    assert!(running.terminate().success());

    let shown: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let named: BTreeSet<String> = PAGES.iter().flat_map(|page| families(&read(page))).collect();
    assert!(named.len() >= 5, "{named:?}");
    // Of a certificate there is nothing to say where there is none; the tests of TLS ask for it.
    let named = named.iter().filter(|name| !name.starts_with("crossfade_certificate_"));
    let unknown: Vec<&String> = named.filter(|name| !shown.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?} of {shown:?}");
}

#[test]
fn the_map_names_every_file_of_src_and_no_other() {
    let page = read("ARCHITECTURE.md");
    let map = page.split("\n## ").find(|part| part.starts_with("Map\n")).expect("a map");
    let mut named = BTreeMap::new();
    for entry in map.split("\n- **").skip(1) {
        let entry = entry.split("\n\n").next().unwrap_or(entry);
        let (folder, rest) = entry.split_once("/**").expect("an entry begins with a folder");
        named.insert(folder.to_owned(), in_backticks(rest).filter(|name| !name.contains('/')).collect());
    }
    let mut there = BTreeMap::new();
    modules(&root().join("src"), &mut there);
    for (folder, files) in &there {
        assert_eq!(named.get(folder), Some(files), "{folder}: the map's entry, and what is there");
    }
    assert_eq!(named.len(), there.len(), "an entry for each folder: {:?}", named.keys());
}

#[test]
fn every_path_named_is_there() {
    for page in PAGES {
        let text = read(page);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let in_code = in_backticks(&text).filter(|code| {
            let folder = code.split('/').next().unwrap_or_default();
            ["src", "tests", "config", "benches", ".ci"].contains(&folder) && code.contains('/')
        });
        let local = links.filter(|link| !link.starts_with("https://")).map(str::to_owned).chain(in_code);
        let gone: Vec<String> = local.filter(|path| !root().join(path).exists()).collect();
        assert!(gone.is_empty(), "{page}: {gone:?}");
    }
}

#[test]
fn every_test_that_an_invariant_names_is_there() {
    let page = read("ARCHITECTURE.md");
    let invariants = page.split("\n## ").find(|part| part.starts_with("What holds\n")).expect("a table");
    let mut code = String::new();
    for folder in ["src", "tests"] {
        sources(&root().join(folder), &mut code);
    }
    // A name of four words or more is a test's.
    let named: Vec<String> = in_backticks(invariants)
        .filter(|name| name.matches('_').count() >= 3 && !name.contains('/'))
        .collect();
    assert!(named.len() >= 5, "{named:?}");
    let gone: Vec<&String> = named.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn the_architecture_fits_in_250_lines() {
    let lines = read("ARCHITECTURE.md").lines().count();
    assert!(lines <= 250, "{lines} lines");
}

/// A started program, and what it says.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// The next line with `text` in it.
    fn wait_for(&mut self, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("{error} instead of `{text}`:\n{}", before.join("\n")),
            }
        }
    }

    fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        assert!(sent.expect("there is a shell").success());
        self.child.wait().expect("it was started")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a failed assertion; otherwise it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(folder: &Path, words: &[String]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words).current_dir(folder).stdin(Stdio::null());
    command.env("XDG_STATE_HOME", folder.join("home"));
    for variable in ["CROSSFADE_CONFIG", "CROSSFADE_STATE", "CROSSFADE_ADMIN_TOKEN", "CROSSFADE_LOG", "PORT"]
    {
        command.env_remove(variable);
    }
    command
}

/// The body of an answer to GET, or all of it.
fn http_get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above 0");
    write!(socket, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers in UTF-8");
    answer
}

/// A folder with the README's own file as crossfade.toml, on ports that are free.
fn folder_with_the_file() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a place for files");
    let file: Vec<String> = configurations()[0].lines().map(on_any_port).collect();
    fs::write(folder.path().join("crossfade.toml"), file.join("\n")).expect("the folder is ours");
    folder
}

/// Every configuration shown. One that is no whole file changes the one before it: sections are added to it, and lines
/// alone take the place of those with the same keys.
fn configurations() -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for block in PAGES.iter().flat_map(|page| blocks(&read(page), "toml")) {
        match shown.last() {
            Some(before) if block.starts_with('[') && !block.contains("[[routes]]") => {
                let anew = block.lines().filter(|line| line.starts_with('['));
                let before = anew.fold(before.clone(), |file, header| without(&file, header));
                shown.push(format!("{before}\n{block}"));
            }
            Some(before) if !block.contains("[[routes]]") => shown.push(edited(before, &block)),
            Some(_) | None => shown.push(block),
        }
    }
    shown
}

/// A file without the section of this header, where it has one.
fn without(file: &str, header: &str) -> String {
    let name = header.split(']').next().unwrap_or(header);
    let Some(at) = file.find(&format!("{name}]")) else { return file.to_owned() };
    let next = file[at..].find("\n[").map_or(file.len(), |next| at + next + 1);
    format!("{}{}", &file[..at], &file[next..])
}

fn edited(file: &str, edit: &str) -> String {
    let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
    let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
    for line in edit.lines() {
        let at = lines.iter().position(|old| key(old).is_some() && key(old) == key(line));
        lines[at.unwrap_or_else(|| panic!("{line}: the file before has no such key"))] = line.to_owned();
    }
    lines.join("\n")
}

/// The words behind `crossfade` of every command line shown, in blocks and within sentences.
fn command_lines() -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for page in PAGES {
        let text = read(page);
        for block in blocks(&text, "sh") {
            lines.extend(block.replace("\\\n", " ").lines().filter_map(words_of_ours));
        }
        lines.extend(in_backticks(&text).filter_map(|code| words_of_ours(&code)));
    }
    lines
}

fn words_of_ours(line: &str) -> Option<Vec<String>> {
    let ours = line.strip_prefix("crossfade ").or_else(|| line.strip_prefix("cargo run --release -- "))?;
    let words = ours.split(" #").next().unwrap_or(ours).split_whitespace();
    Some(words.map(str::to_owned).collect())
}

/// The same text with every address to listen on changed to a free port of this machine.
fn on_any_port(text: &str) -> String {
    let text = text.replace("0.0.0.0:${PORT:-8080}", "127.0.0.1:0").replace("/var/lib/crossfade", "state");
    ["8080", "9902"].iter().fold(text, |text, port| text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0"))
}

/// Reason to status, of every table row `| 502 | `reason` … | … |`.
fn reason_rows() -> BTreeMap<String, String> {
    let page = read("README.md");
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, status, reasons, ..] = cells.as_slice() else { continue };
        if status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit()) {
            for reason in in_backticks(reasons) {
                let twice = rows.insert(reason.clone(), (*status).to_owned());
                assert_eq!(twice, None, "{reason} has two rows");
            }
        }
    }
    rows
}

/// The metric families that a page names, without what histograms add.
fn families(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !word(c)).filter(|word| word.starts_with("crossfade_"));
    let endings = ["_bucket", "_sum", "_count"];
    let family =
        |word: &str| endings.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned();
    words.map(family).collect()
}

/// What stands in fenced blocks of `language`.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0.to_owned())).collect()
}

/// Every `code` within sentences.
fn in_backticks(text: &str) -> impl Iterator<Item = String> {
    let mut fenced = false;
    let plain = text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    let text = plain.collect::<Vec<_>>().join("\n");
    let code: Vec<String> = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    code.into_iter()
}

/// The files of each folder below `folder` by the names of their modules; `mod` is the folder's own, and folders of
/// tests are their module's.
fn modules(folder: &Path, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let name = folder.strip_prefix(root()).expect("below the package").display().to_string();
    let mut files = BTreeSet::new();
    for path in entries(folder) {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("names are ASCII").to_owned();
        match path.is_dir() {
            true if stem != "tests" => modules(&path, found),
            false if path.extension().is_some_and(|end| end == "rs") && stem != "mod" => {
                files.insert(stem);
            }
            true | false => {}
        }
    }
    found.insert(name, files);
}

/// The text of every Rust file below `folder`, one after the other.
fn sources(folder: &Path, code: &mut String) {
    for path in entries(folder) {
        match path.is_dir() {
            true if !path.ends_with("node_modules") && !path.ends_with(".env") => sources(&path, code),
            false if path.extension().is_some_and(|end| end == "rs") => {
                code.push_str(&fs::read_to_string(&path).expect("our own files are UTF-8"));
            }
            true | false => {}
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the package is there");
    entries.map(|entry| entry.expect("it can be read").path()).collect()
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
