//! The command line: exit codes, and what it says to whoever starts it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::kit::proxy::program;
use crate::kit::{Backend, Config, ok};

/// What a run with these words comes to.
fn run(words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        program().args(words).env_remove("CROSSFADE_CONFIG").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code().expect("it ends by itself"), text(stdout), text(stderr))
}

/// A file with this content, in a directory that lives as long as the first.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("crossfade.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn good() -> String {
    Config::of(&Backend::answering(ok(""))).text()
}

#[test]
fn a_good_configuration_checks_out() {
    let (_directory, path) = file(&good());
    let (code, out, err) = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("is good"), "{out}");
}

#[test]
fn every_problem_is_named_with_its_line_and_a_caret() {
    let text = good()
        .replace("workers = 1", "workers = 0\nworkrs = 2")
        .replace("stable = \"only\"", "stable = \"onyl\"");
    let (_directory, path) = file(&text);
    for verb in ["check", "run"] {
        let (code, _, err) = run(&[verb, "--config", path.to_str().unwrap()]);
        assert_eq!(code, 1);
        for what in ["workers = 0", "workrs", "onyl", "^", "crossfade.toml:"] {
            assert!(err.contains(what), "{verb} says {what}:\n{err}");
        }
        assert!(err.contains("did you mean") || err.contains("`only`"), "with the remedy:\n{err}");
    }
}

#[test]
fn problems_as_json_have_their_place() {
    let (_directory, path) = file(&good().replace("workers = 1", "workers = 0"));
    let (code, out, _) = run(&["check", "--json", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    let problems: serde_json::Value = serde_json::from_str(&out).unwrap();
    let first = &problems[0];
    assert_eq!((&first["severity"], &first["line"]), (&"error".into(), &4.into()), "{out}");
    assert!(first["message"].is_string() && first["remedy"].is_string() && first["column"].is_number());
    let (_directory, path) = file(&good());
    let (code, out, _) = run(&["check", "--json", "--config", path.to_str().unwrap()]);
    assert_eq!((code, out.trim()), (0, "[]"));
}

#[test]
fn a_missing_file_is_named() {
    for verb in ["check", "run"] {
        let (code, _, err) = run(&[verb, "--config", "/nowhere/crossfade.toml"]);
        assert_eq!(code, 1);
        assert!(err.contains("/nowhere/crossfade.toml"), "{err}");
    }
}

/// A pipe as the file made the program wait for ever for whoever writes it.
#[test]
fn what_is_no_regular_file_is_refused() {
    let (dir, _) = file("");
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), dir.path(), Path::new("/dev/zero")] {
        for verb in ["check", "run"] {
            let (code, _, stderr) = run(&[verb, "--config", path.to_str().unwrap()]);
            assert_eq!(code, 1, "{stderr}");
            assert!(stderr.contains("it isn't a regular file"), "{stderr}");
        }
    }
}

#[test]
fn a_run_without_anything_says_what_to_give() {
    let directory = tempfile::tempdir().unwrap();
    let output =
        program().arg("run").current_dir(&directory).env_remove("CROSSFADE_CONFIG").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("--config") && err.contains("--stable"), "{err}");
}

#[test]
fn wrong_words_get_the_usage_and_exit_code_2() {
    for words in
        [&["jump"][..], &["run", "--what"], &[], &["run", "--stable", "http://a"], &["check", "x", "y"]]
    {
        let (code, _, err) = run(words);
        assert_eq!(code, 2, "{words:?}: {err}");
        assert!(err.to_lowercase().contains("usage"), "{words:?}: {err}");
    }
}

#[test]
fn help_and_version_are_answers() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!((code, out.starts_with("crossfade ")), (0, true), "{out}");
    let (code, out, _) = run(&["--help"]);
    assert!(code == 0 && out.contains("run") && out.contains("check") && out.contains("demo"), "{out}");
    let (code, out, _) = run(&["run", "--help"]);
    assert!(code == 0 && out.contains("Without --config, --stable and --candidate serve at once"), "{out}");
}

#[test]
fn shells_learn_every_verb() {
    for (shell, begins) in [("bash", "_crossfade"), ("zsh", "#compdef crossfade"), ("fish", "# Print")] {
        let (code, out, err) = run(&["completions", shell]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        let told = ["shift", "rollback", "if-revision"].iter().all(|word| out.contains(word));
        assert!(told && out.starts_with(begins), "{shell}: {out}");
    }
    assert_eq!(run(&["completions", "cmd"]).0, 2);
}

#[test]
fn there_is_a_manual_of_the_whole_and_of_each_verb() {
    let (code, out, err) = run(&["man"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains(".TH crossfade 1") && out.contains("crossfade\\-shift(1)"), "{out}");
    let (code, out, _) = run(&["man", "shift"]);
    assert!(code == 0 && out.contains(".TH crossfade-shift 1") && out.contains("dry\\-run"), "{out}");
    let (code, _, err) = run(&["man", "shif"]);
    assert!(code == 2 && err.contains("no verb 'shif'"), "{err}");
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_directory, path) = file(&good().replacen("127.0.0.1:0", &address, 1));
    let (code, _, err) = run(&["run", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(err.contains(&address) && err.contains("another port"), "{err}");
}

#[test]
fn an_authority_that_cannot_be_read_is_named() {
    let text = Config::of_url("https://127.0.0.1:1", "ca_file = \"/nowhere/ca.pem\"").text();
    let (_directory, path) = file(&text);
    for verb in ["check", "run"] {
        let (code, _, err) = run(&[verb, "--config", path.to_str().unwrap()]);
        assert!(code == 1 && err.contains("/nowhere/ca.pem"), "{err}");
    }
}

/// The problems that `check --json` prints, which exits with 1.
fn refused_as_json(path: &Path) -> Vec<serde_json::Value> {
    let (code, out, err) = run(&["check", "--json", "--config", path.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_in_json_too() {
    let (_directory, latin) = file("");
    std::fs::write(&latin, b"# caf\xe9\n").unwrap();
    for (path, what, remedy) in [
        (Path::new("/nowhere/crossfade.toml"), "can't read /nowhere/crossfade.toml", "check the path"),
        (&latin, "isn't UTF-8", "save it as UTF-8"),
    ] {
        let problems = refused_as_json(path);
        let text = |key: &str| problems[0][key].as_str().unwrap().to_owned();
        assert!(text("message").contains(what) && text("remedy").contains(remedy), "{problems:?}");
        assert_eq!((&problems[0]["line"], &problems[0]["column"]), (&1.into(), &1.into()));
        assert_eq!((text("severity").as_str(), problems.len()), ("error", 1));
    }
}

#[test]
fn every_authority_that_cannot_be_read_is_named_at_its_line_and_warnings_stay() {
    let text = Config::of_url("https://127.0.0.1:1", "ca_file = \"/nowhere/one.pem\"")
        .backend("unused", "https://127.0.0.1:1", "ca_file = \"/nowhere/two.pem\"")
        .text();
    let line = |what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
    let (_directory, path) = file(&text);
    let problems = refused_as_json(&path);
    let found: Vec<_> = problems.iter().map(|p| (p["severity"].as_str().unwrap(), &p["line"])).collect();
    let (one, two) = (line("one.pem"), line("two.pem"));
    let unused = line("[backends.unused]");
    assert_eq!(found, [("error", &one.into()), ("error", &two.into()), ("warning", &unused.into())]);
    let (code, _, err) = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    for what in ["one.pem", "two.pem", &format!("crossfade.toml:{one}:11"), "no route uses", "= help: check"]
    {
        assert!(err.contains(what), "{what}:\n{err}");
    }
}
