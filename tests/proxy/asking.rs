//! The verbs that talk to a running proxy, against one that answers what it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::proxy::program;

/// A proxy's state directory, with somebody at its socket who gives every request the same answer.
struct Fake {
    directory: TempDir,
    heard: Receiver<Heard>,
}

/// A request: its first line, its fields in lower case, its body.
type Heard = (String, String, String);

impl Fake {
    /// Answers with these bytes, and closes.
    fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("admin.sock")).unwrap();
        let (tell, heard) = channel();
        let answer = answer.into();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (read, write): (UnixStream, UnixStream) = (stream.try_clone().unwrap(), stream);
                if tell.send(answered(read, write, &answer)).is_err() {
                    break;
                }
            }
        });
        Self { directory, heard }
    }

    fn answering(status: &str, body: &Value) -> Self {
        Self::saying(response(status, &body.to_string()))
    }

    fn run(&self, words: &[&str]) -> (i32, String, String) {
        run(asking(words).env("CROSSFADE_STATE", self.directory.path()))
    }

    fn last(&self) -> Heard {
        self.heard.recv().expect("the program has asked")
    }
}

fn answered(read: impl Read, mut write: impl Write, answer: &[u8]) -> Heard {
    let mut lines = BufReader::new(read);
    let mut line = || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let first = line();
    let fields: String =
        std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect::<Vec<_>>().join("\n");
    let fields = fields.to_lowercase();
    let length =
        fields.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    // Whoever has read enough is gone before the end of an answer that is too large.
    let _ = write.write_all(answer);
    (first, fields, String::from_utf8(body).unwrap())
}

fn response(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The program, without any hint where a proxy is.
fn asking(words: &[&str]) -> Command {
    let mut command = program();
    command.args(words).env("HOME", "/nowhere").env("USER", "anna").env_remove("XDG_STATE_HOME");
    for name in ["ADMIN", "ADMIN_TOKEN", "ADMIN_TOKEN_FILE", "STATE", "CONFIG", "LOG"] {
        command.env_remove(format!("CROSSFADE_{name}"));
    }
    command.env_remove("SUDO_USER");
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code().expect("it ends by itself"), text(stdout), text(stderr))
}

fn state(fly: f64) -> Value {
    json!({ "weights": { "fly": fly, "heroku": 100.0 - fly }, "mode": "open", "rolled_back": false })
}

fn applied(dry_run: bool) -> Value {
    json!({
        "revision": 12, "dry_run": dry_run, "kept": true, "notes": ["heroku answered 0.1 s ago"],
        "changes": [{ "route": "web", "from": state(5.0), "to": state(25.0) }],
    })
}

fn refused(error: &str, reason: &str) -> Value {
    json!({ "error": error, "reason": reason })
}

#[test]
fn every_verb_sends_its_command() {
    let fake = Fake::answering("200 OK", &applied(false));
    let with = |more: Value| {
        let mut body = json!({ "actor": "anna", "dry_run": false });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let shift = |more: Value| {
        let mut body = with(json!({ "command": "shift", "backend": "fly" }));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (words, expected) in [
        ("shift fly 25", shift(json!({ "percent": 25.0 }))),
        ("shift fly 0.5%", shift(json!({ "percent": 0.5 }))),
        ("shift fly +5", shift(json!({ "delta": 5.0 }))),
        ("shift fly -5% --route web", shift(json!({ "delta": -5.0, "route": "web" }))),
        ("shift --dry-run fly -5", shift(json!({ "delta": -5.0, "dry_run": true }))),
        (
            "shift fly 5 --if-revision 11 --reason level",
            shift(json!({ "percent": 5.0, "if_revision": 11, "reason": "level" })),
        ),
        ("rollback", with(json!({ "command": "rollback" }))),
        (
            "rollback --route web --dry-run",
            with(json!({ "command": "rollback", "route": "web", "dry_run": true })),
        ),
        ("undo", with(json!({ "command": "undo" }))),
        ("undo 7 --route web", with(json!({ "command": "undo", "revision": 7, "route": "web" }))),
        ("mode maintenance", with(json!({ "command": "mode", "mode": "maintenance" }))),
        ("mode open --route web", with(json!({ "command": "mode", "mode": "open", "route": "web" }))),
        ("reload", with(json!({ "command": "reload" }))),
        ("drain", with(json!({ "command": "drain" }))),
    ] {
        let (code, _, err) = fake.run(&words.split(' ').collect::<Vec<_>>());
        assert_eq!((code, err.as_str()), (0, ""), "{words}");
        let (first, fields, body) = fake.last();
        assert_eq!(first, "POST /api/v1/commands HTTP/1.1", "{words}");
        assert!(fields.contains("content-type: application/json"), "{fields}");
        assert!(!fields.contains("authorization"), "the socket's own permission is the key: {fields}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected, "{words}");
    }
}

#[test]
fn who_is_at_the_terminal_is_told_also_behind_sudo() {
    let fake = Fake::answering("200 OK", &applied(false));
    for (sudo, user, logname, expected) in [
        (Some("ben"), Some("root"), None, json!("ben")),
        (None, Some("anna"), Some("other"), json!("anna")),
        (None, None, Some("carl"), json!("carl")),
        (Some(""), Some(" "), None, Value::Null),
    ] {
        let mut command = asking(&["rollback"]);
        command.env("CROSSFADE_STATE", fake.directory.path());
        for (name, value) in [("SUDO_USER", sudo), ("USER", user), ("LOGNAME", logname)] {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        assert_eq!(run(&mut command).0, 0);
        let body: Value = serde_json::from_str(&fake.last().2).unwrap();
        assert_eq!(body["actor"], expected);
    }
}

#[test]
fn a_change_is_told_and_the_revision_that_is_live_comes_last() {
    let what = "web: heroku 95 -> 75 %, fly 5 -> 25 %\nnote: heroku answered 0.1 s ago\n";
    let (code, out, err) = Fake::answering("200 OK", &applied(false)).run(&["shift", "fly", "25"]);
    assert_eq!((code, out, err), (0, format!("{what}revision 12 is live\n"), String::new()));
    let (_, out, _) = Fake::answering("200 OK", &applied(true)).run(&["shift", "fly", "25", "--dry-run"]);
    assert_eq!(out, format!("{what}dry run: nothing changed; revision 12 is live\n"));
    let (_, out, _) = Fake::answering("200 OK", &applied(false)).run(&["shift", "fly", "25", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), applied(false));
}

#[test]
fn a_refusal_is_one_sentence_and_exit_code_1() {
    for (status, error, reason) in [
        ("422 Unprocessable Entity", "no backend of the route `web` is called `flyy`", "unknown_backend"),
        ("409 Conflict", "revision 12 is live, not 11", "stale_revision"),
        ("401 Unauthorized", "the token is wrong", "unauthorized"),
        ("503 Service Unavailable", "the process is about to end", "ending"),
    ] {
        let fake = Fake::answering(status, &refused(error, reason));
        for words in ["shift flyy 5", "status", "history", "diff", "export"] {
            let words: Vec<_> = words.split(' ').collect();
            assert_eq!(fake.run(&words), (1, String::new(), format!("error: {error}\n")), "{words:?}");
        }
        let (code, out, err) = fake.run(&["rollback", "--json"]);
        assert_eq!((code, err), (1, format!("error: {error}\n")));
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), refused(error, reason));
    }
    let report = "error: unknown key `workrs` in [server]\n --> crossfade.toml:3:1\n";
    let fake = Fake::answering("422 Unprocessable Entity", &refused(report, "configuration"));
    assert_eq!(fake.run(&["reload"]), (1, String::new(), report.to_owned()));
}

#[test]
fn wrong_words_are_exit_code_2_and_nobody_is_asked() {
    for words in [
        "shift fly",
        "shift fly five",
        "mode hold",
        "undo last",
        "history --limit 0",
        "status --watch --json",
    ] {
        let (code, out, err) = run(&mut asking(&words.split(' ').collect::<Vec<_>>()));
        assert_eq!((code, out.as_str()), (2, ""), "{words}: {err}");
    }
}

#[test]
fn what_isnt_the_api_is_said() {
    let large = 33 << 20;
    let mut too_large = format!("HTTP/1.1 200 OK\r\ncontent-length: {large}\r\n\r\n").into_bytes();
    too_large.resize(too_large.len() + large, b' ');
    for (answer, expected) in [
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "isn't Crossfade's admin API"),
        (response("200 OK", "<html>").into(), "isn't Crossfade's admin API"),
        (response("200 OK", "{\"revision\":1}").into(), "isn't Crossfade's admin API: missing field"),
        (response("502 Bad Gateway", "<html>").into(), "it answers 502 Bad Gateway without saying why"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"revi".to_vec(),
            "broke off before its answer was whole",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent".to_vec(), "broke off before its answer was whole"),
        (Vec::new(), "broke off before its answer was whole"),
        (too_large, "its answer is over 32 MiB"),
    ] {
        let fake = Fake::saying(answer);
        for words in [&["status"][..], &["shift", "fly", "5"]] {
            let (code, out, err) = fake.run(words);
            assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
            assert!(err.contains(expected) && err.contains("admin.sock"), "{expected}: {err}");
        }
    }
}

#[test]
fn without_a_proxy_it_is_said_what_was_tried_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    // Somebody was there once.
    drop(UnixListener::bind(directory.path().join("admin.sock")).unwrap());
    std::fs::write(directory.path().join("stateless.toml"), "[server]\nhttp = \"127.0.0.1:0\"\n").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let start = "`crossfade run --config FILE`";
    for (words, expected) in [
        (
            vec!["--state", "/none"],
            vec![
                "no proxy at /none/admin.sock: there is no such socket",
                start,
                "--state DIR",
                "--admin URL",
            ],
        ),
        (vec!["--state", &at("")], vec!["nobody listens on it", start]),
        (vec!["--admin", &url], vec![&url, "nobody listens there", start]),
        (
            vec!["--config", &at("stateless.toml")],
            vec!["stateless.toml has no [state] dir", "--state DIR", "--admin URL"],
        ),
        (vec!["--config", &at("none.toml")], vec!["can't read", "none.toml", "--state DIR"]),
        (vec!["--admin", "https://proxy"], vec!["plain HTTP", "http://127.0.0.1:9901"]),
        (vec![], vec!["no proxy at /nowhere/.local/state/crossfade/admin.sock", start]),
    ] {
        for verb in [&["rollback"][..], &["shift", "fly", "5"], &["status"], &["history"], &["export"]] {
            let mut command = asking(verb);
            command.args(&words).env("CROSSFADE_ADMIN_TOKEN", "t".repeat(16)).current_dir(directory.path());
            let (code, out, err) = run(&mut command);
            assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{words:?}: {err}");
            assert!(expected.iter().all(|part| err.contains(part)), "{expected:?}: {err}");
        }
    }
    let (code, _, err) = run(&mut asking(&["status", "--admin", &url]));
    assert!(code == 1 && err.contains("CROSSFADE_ADMIN_TOKEN_FILE"), "{err}");
}

#[test]
fn a_broken_file_is_no_hindrance_to_a_rollback() {
    let fake = Fake::answering("200 OK", &applied(false));
    let file = fake.directory.path().join("crossfade.toml");
    let broken =
        "[server\nhttp = [\"0.0.0.0:80\",\n[state]\ndir = \"${WHERE}\"\n[[routes]]\nweights = { fly = }\n";
    std::fs::write(&file, broken).unwrap();
    let told = |command: &mut Command| {
        let (code, _, err) = run(command.env("WHERE", fake.directory.path()));
        assert_eq!((code, err.as_str()), (0, ""));
        fake.last();
    };
    told(asking(&["rollback", "--config"]).arg(&file));
    told(asking(&["rollback"]).env("CROSSFADE_CONFIG", &file));
    told(asking(&["rollback"]).current_dir(fake.directory.path()));
    // What is typed goes before the environment.
    told(
        asking(&["rollback", "--config"])
            .arg(&file)
            .env("CROSSFADE_STATE", "/none")
            .env("CROSSFADE_ADMIN", "none:1"),
    );
}

#[test]
fn a_start_without_a_file_is_found_by_itself() {
    let fake = Fake::answering("200 OK", &applied(false));
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join(".local/state")).unwrap();
    std::os::unix::fs::symlink(fake.directory.path(), home.path().join(".local/state/crossfade")).unwrap();
    let found = |command: &mut Command| run(command.current_dir(home.path())).0;
    assert_eq!(found(asking(&["rollback"]).env("HOME", home.path())), 0);
    assert_eq!(found(asking(&["rollback"]).env("XDG_STATE_HOME", home.path().join(".local/state"))), 0);
}

#[test]
fn over_tcp_the_token_goes_along() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = response("200 OK", &json!({ "revision": 3, "changes": [] }).to_string());
    let heard = thread::spawn(move || {
        [(); 2].map(|()| {
            let (stream, _) = listener.accept().unwrap();
            answered(stream.try_clone().unwrap(), stream, answer.as_bytes()).1
        })
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admin-token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let told = (0, "no difference: revision 3 is what the file says\n".to_owned(), String::new());
    let url = format!("http://{address}/");
    assert_eq!(
        run(asking(&["diff", "--admin", &url]).env("CROSSFADE_ADMIN_TOKEN", "0123456789abcdef")),
        told
    );
    assert_eq!(
        run(asking(&["diff"]).env("CROSSFADE_ADMIN", &url).env("CROSSFADE_ADMIN_TOKEN_FILE", &file)),
        told
    );
    for fields in heard.join().unwrap() {
        assert!(fields.contains("authorization: bearer 0123456789abcdef"), "{fields}");
        assert!(fields.contains(&format!("host: {address}")), "{fields}");
    }
}

#[test]
fn history_is_as_long_as_asked_for() {
    let revision = |number: u64| {
        json!({
            "revision": number, "at": "2026-11-21T14:03:22Z", "actor": "anna", "via": "socket",
            "command": "shift fly 25%", "reason": "calm\u{1b}[2J",
            "changes": [{ "route": "web", "from": state(5.0), "to": state(25.0) }],
        })
    };
    let whole = json!({ "revisions": [revision(12), revision(11)] });
    let fake = Fake::answering("200 OK", &whole);
    let (code, out, err) = fake.run(&["history", "--limit", "2"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let rows: Vec<&str> = out.lines().collect();
    assert_eq!(rows.len(), 1 + 2 * 3, "{out}");
    assert!(
        rows[1].starts_with(" 12  2026-11-21 14:03:22") && rows[1].ends_with("anna, socket  shift fly 25%"),
        "{out}"
    );
    assert_eq!(rows[2..4], ["     web: heroku 95 -> 75 %, fly 5 -> 25 %", "     reason: calm [2J"]);
    assert!(fake.last().0.starts_with("GET /api/v1/history?limit=2 "), "the proxy is asked for no more");
    let (_, out, _) = fake.run(&["history", "--limit", "1000", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), whole);
    assert_eq!(fake.run(&["history", "-n", "1"]).0, 2, "elsewhere that is --dry-run");
}

#[test]
fn the_status_has_both_sides_beside_each_other_and_warnings_first() {
    let backend = |name: &str, weight: f64, up: bool| {
        json!({ "name": name, "urls": [], "weight": weight, "file_weight": 50.0, "up": up, "requests_per_second": 12.5,
                "error_ratio": 0.034, "p50": 0.012, "p95": 0.045, "p99": 1.31, "in_flight": 3, "tunnels": 1 })
    };
    let status = json!({
        "version": "0.1.0", "revision": 12, "at": "2026-11-21T14:03:22Z", "started": "2026-11-21T13:03:22Z",
        "draining": false, "config_refused": "error: unknown key\n --> crossfade.toml:1\n", "window_seconds": 10.0,
        "routes": [{ "name": "web", "hosts": [], "path": "/", "mode": "maintenance", "stable": "heroku",
                     "rolled_back": true, "overridden": true,
                     "backends": [backend("heroku", 75.0, true), backend("fly", 25.0, false)] }],
        "history": [],
    });
    let fake = Fake::answering("200 OK", &status);
    let (code, out, err) = fake.run(&["status"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let expected = "\
! the configuration file is refused (`crossfade check` says why), the one before it serves on: unknown key
revision 12  Crossfade 0.1.0, up 60 min

web  [MAINTENANCE]  [ROLLED BACK]  [differs from the file]  any host /
                heroku (stable)     fly
  weight        75 % (file 50 %)    25 % (file 50 %)
  health        up, no answer yet   DOWN, no answer yet
  requests/s    12.5                12.5
  errors        3.4 % !             3.4 % !
  p50           12 ms               12 ms
  p95           45 ms               45 ms
  p99           1.3 s               1.3 s
  in flight     3 and 1 tunnel      3 and 1 tunnel
";
    assert_eq!(out, expected);
    let (_, out, _) = fake.run(&["status", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), status);
    let (code, out, err) = fake.run(&["status", "--watch"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("this isn't one") && err.contains("--json"), "{err}");
}

#[test]
fn an_export_is_the_text_and_nothing_else() {
    let text = "# ours\r\n[[routes]]\r\nname = \"web\"\r\n\n\n";
    let fake =
        Fake::answering("200 OK", &json!({ "revision": 3, "file": "a.toml", "text": text, "routes": {} }));
    assert_eq!(fake.run(&["export"]), (0, text.to_owned(), String::new()));
    let bare = Fake::answering("200 OK", &json!({ "revision": 3, "routes": { "default": state(5.0) } }));
    let (code, out, _) = bare.run(&["export"]);
    assert_eq!(code, 0);
    assert!(out.lines().all(|line| line.starts_with('#')), "{out}");
    assert!(out.contains("# default: fly 5 %, heroku 95 %"), "{out}");
}
