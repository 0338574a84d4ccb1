//! Which proxy a command talks to: a socket in a state directory, or an address with a token.
//!
//! Every verb that talks to a running proxy flattens [`Which`]. What is typed goes before the environment, and both
//! before what is found by itself. It must never take a token from the command line: others can read that.

use std::env;
use std::fmt;
use std::fs;
use std::path::{self, Path, PathBuf};

use clap::Args;
use http::Uri;
use http::header::HeaderValue;

use crate::cli::exists;
use crate::config::state_dir;

/// Which proxy.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which proxy")]
pub(super) struct Which {
    /// By its admin address, as http://127.0.0.1:9901, with the token of CROSSFADE_ADMIN_TOKEN or of the file
    /// CROSSFADE_ADMIN_TOKEN_FILE [env: CROSSFADE_ADMIN]
    #[arg(long, value_name = "URL", conflicts_with_all = ["state", "config"])]
    admin: Option<String>,
    /// By the socket in its state directory [env: CROSSFADE_STATE]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    state: Option<PathBuf>,
    /// By the `[state] dir` of its file, which may be broken; else of crossfade.toml here [env: CROSSFADE_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where a proxy is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// A unix socket.
    Socket(PathBuf),
    /// An address.
    Address {
        /// Host and port, as `Host` says them.
        authority: String,
        /// `Bearer …`.
        token: HeaderValue,
    },
}

impl Which {
    /// Where it is, or one sentence why that can't be said.
    pub(super) fn place(&self) -> Result<Place, String> {
        let Self { admin, state, config } = self;
        if let Some(url) = admin {
            address(url)
        } else if let Some(dir) = state {
            Ok(socket(dir))
        } else if let Some(file) = config {
            by_file(file)
        } else {
            by_environment()
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A relative `[state] dir` is meant from where the proxy was started, and here from where we are.
            Self::Socket(path) => path::absolute(path).unwrap_or_else(|_| path.clone()).display().fmt(f),
            Self::Address { authority, .. } => write!(f, "http://{authority}"),
        }
    }
}

/// Where a start without a file keeps its state: `$XDG_STATE_HOME/crossfade`, else `~/.local/state/crossfade`.
pub(super) fn default_state() -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("crossfade"))
}

fn by_environment() -> Result<Place, String> {
    if let Some(url) = variable("CROSSFADE_ADMIN") {
        return address(&url);
    }
    if let Some(dir) = variable("CROSSFADE_STATE") {
        return Ok(socket(Path::new(&dir)));
    }
    if let Some(file) = variable("CROSSFADE_CONFIG") {
        return by_file(Path::new(&file));
    }
    let file = Path::new("crossfade.toml");
    if exists(file) {
        return by_file(file);
    }
    let nowhere = "no proxy is named, and there is no home directory to look in; name one by --config FILE, \
                   --state DIR or --admin URL";
    default_state().map(|dir| socket(&dir)).ok_or_else(|| nowhere.to_owned())
}

fn by_file(file: &Path) -> Result<Place, String> {
    const OTHERWISE: &str = "name the proxy's state directory by --state DIR, or its address by --admin URL";
    let shown = file.display();
    let bytes = fs::read(file).map_err(|error| format!("can't read {shown}: {error}; {OTHERWISE}"))?;
    match state_dir(&String::from_utf8_lossy(&bytes), &|name| env::var(name).ok()) {
        Some(dir) => Ok(socket(Path::new(&dir))),
        None => {
            Err(format!("{shown} has no [state] dir that tells where the proxy's socket is; {OTHERWISE}"))
        }
    }
}

fn socket(dir: &Path) -> Place {
    Place::Socket(dir.join("admin.sock"))
}

fn address(url: &str) -> Result<Place, String> {
    Ok(Place::Address { authority: authority(url)?, token: token(url)? })
}

/// Host and port of an address of the form `http://127.0.0.1:9901`.
fn authority(url: &str) -> Result<String, String> {
    let wrong = |why: &str| {
        Err(format!(
            "{url:?} isn't the address of a proxy's admin API: {why}; write it as http://127.0.0.1:9901"
        ))
    };
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let Ok(uri) = whole.parse::<Uri>() else { return wrong("it isn't a URL") };
    let Some(authority) = uri.authority() else { return wrong("it names no host") };
    if uri.scheme_str() != Some("http") {
        return wrong(
            "the API speaks plain HTTP, and through SSH where it is far (ssh -L 9901:127.0.0.1:9901 HOST)",
        );
    }
    if authority.as_str().contains('@') {
        return wrong("the token belongs into CROSSFADE_ADMIN_TOKEN");
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return wrong("it has a path");
    }
    let port = authority.port_u16().unwrap_or(80);
    Ok(format!("{}:{port}", authority.host()))
}

fn token(url: &str) -> Result<HeaderValue, String> {
    let text = match (variable("CROSSFADE_ADMIN_TOKEN"), variable("CROSSFADE_ADMIN_TOKEN_FILE")) {
        (Some(token), _) => token,
        (None, Some(file)) => fs::read_to_string(&file).map_err(|error| {
            format!("can't read the token from {file}: {error}; it is what CROSSFADE_ADMIN_TOKEN_FILE names")
        })?,
        (None, None) => {
            return Err(format!(
                "{url} asks for a token: set CROSSFADE_ADMIN_TOKEN, or CROSSFADE_ADMIN_TOKEN_FILE to the file that \
                 has it (admin-token in the proxy's state directory)"
            ));
        }
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .map_err(|_| "the token of the admin API has characters that no token has".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A variable that says something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (url, expected) in [
            ("http://127.0.0.1:9901", "127.0.0.1:9901"),
            ("http://127.0.0.1:9901/", "127.0.0.1:9901"),
            ("localhost:9901", "localhost:9901"),
            ("http://[::1]:9901", "[::1]:9901"),
            ("http://proxy", "proxy:80"),
        ] {
            assert_eq!(authority(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_with_the_form() {
        for (url, why) in [
            ("https://proxy:9901", "plain HTTP"),
            ("http://me:secret@proxy:9901", "CROSSFADE_ADMIN_TOKEN"),
            ("http://proxy:9901/api/v1", "has a path"),
            ("http://", "isn't a URL"),
            ("", "isn't a URL"),
            ("unix:/s/admin.sock", "has a path"),
        ] {
            let error = authority(url).unwrap_err();
            assert!(error.contains(why) && error.contains("http://127.0.0.1:9901"), "{url}: {error}");
        }
    }
}
