//! Every file in the `config` directory is a good one.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::health::Probe;
use crate::config::{Loaded, load};

fn examples() -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn loaded(path: &Path, text: &str) -> Loaded {
    let name = path.display().to_string();
    load(text, &|_| None).unwrap_or_else(|problems| panic!("{}", problems.render(&name, text, false)))
}

fn reference() -> (PathBuf, String) {
    examples().into_iter().find(|(path, _)| path.ends_with("crossfade.toml")).unwrap()
}

#[test]
fn every_example_loads_without_a_warning() {
    let examples = examples();
    assert!(examples.len() >= 4);
    for (path, text) in examples {
        assert_eq!(loaded(&path, &text).warnings, [], "{}", path.display());
    }
}

/// The reference with every `# key = value` line put into effect.
fn uncommented(text: &str) -> String {
    let is_key = |line: &str| {
        let key = line.split_once(" = ").map_or("", |(key, _)| key);
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(commented) if is_key(commented) => format!("{commented}\n"),
        Some(_) | None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_defaults_that_the_reference_names_are_the_defaults() {
    let (path, text) = reference();
    let mut written = loaded(&path, &uncommented(&text)).config;
    let default = loaded(&path, &text).config;
    let acme = written.acme.as_mut().unwrap();
    assert!(acme.email.take().is_some() && acme.ca_file.take().is_some());
    // These have no value that could be written as the default.
    assert_eq!(written.server.workers, NonZeroUsize::new(2));
    written.server.workers = default.server.workers;
    assert_eq!((written.server.https.drain(..).len(), written.tls.certificates.drain(..).len()), (1, 1));
    assert_eq!(written.tls.clients.take().map(|clients| clients.required), Some(true));
    assert_eq!(written.tls.hsts.take(), Some(Duration::from_hours(4320)));
    assert_eq!(written.limits.body_size.take(), Some(100_000_000));
    assert_eq!(written.limits.memory.take(), Some(200 * 1024 * 1024));
    assert!(written.backends[1].ca_file.take().is_some());
    let probe = written.backends[1].health.probe.take().unwrap();
    assert_eq!((probe.host.is_some(), probe.headers.len()), (true, 1));
    assert_eq!(Probe { host: None, headers: Vec::new(), ..probe }, Probe::of("/up".parse().unwrap()));
    assert_eq!(written.server.admin.take().map(|admin| admin.hosts.len()), Some(1));
    assert_eq!(written, default);
}

#[test]
fn the_reference_names_every_key() {
    let (_, text) = reference();
    // Each known key, as the remedy for an unknown one lists them.
    let sections = [
        "server",
        "tls",
        "forwarded",
        "limits",
        "timeouts",
        "access_log",
        "acme",
        "state",
        "backends.heroku",
        "backends.heroku.health",
    ];
    for section in sections {
        let wrong = text.replacen(&format!("[{section}]"), &format!("[{section}]\nxyzzy = 1"), 1);
        let problems = load(&wrong, &|_| None).unwrap_err().0;
        let keys = problems[0].remedy.split('`').skip(1).step_by(2);
        for key in keys {
            let stands = text.contains(&format!("{key} = ")) || text.contains(&format!(".{key}]"));
            assert!(stands, "{key} of [{section}] is missing in the reference");
        }
    }
}
