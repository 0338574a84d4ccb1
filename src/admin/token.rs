//! The admin token: what it may be, and the file that keeps it.
//!
//! `app` reads or makes it at start. It must never be shown, nor lie where others can read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, str};

use aws_lc_rs::rand;

use super::own::{self, OwnError};
use crate::config::limits::TOKEN_LEAST;
use crate::source::file::read_regular;

/// A secret that opens the admin API over TCP.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes the text of a token, white space around it aside.
    ///
    /// # Errors
    /// When it is too short, or can't stand in a header.
    pub fn parse(text: &str) -> Result<Self, TokenFault> {
        let text = text.trim();
        if text.len() < TOKEN_LEAST {
            return Err(TokenFault::Short);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenFault::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Somebody would guess it.
    #[error("an admin token has {TOKEN_LEAST} characters at least: make one with `openssl rand -hex 32`")]
    Short,
    /// It can't be sent.
    #[error("an admin token is of visible ASCII characters, without spaces")]
    Characters,
}

/// A token's file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It can't be read or made.
    #[error("can't read or make the admin token {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its directory can't be used.
    #[error(transparent)]
    Directory(#[from] OwnError),
    /// Somebody else knows it.
    #[error("the admin token {} belongs to another user: remove it, and a new one is made", .0.display())]
    Foreign(PathBuf),
    /// Everybody could read it.
    #[error("others can read the admin token {}: make a new one, with `chmod 600`", .0.display())]
    Readable(PathBuf),
    /// What is in it is no token.
    #[error("{}: {fault}", path.display())]
    Fault {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        fault: TokenFault,
    },
}

/// The token of a state directory: the one that is kept there, else a new one, from now on kept there.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn token_in(dir: &Path) -> Result<Token, TokenError> {
    own::directory(dir)?;
    let path = dir.join("admin-token");
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => return own_file(&path),
    }
    make(dir, &path).map_err(|source| TokenError::Io { path: path.clone(), source })?;
    own_file(&path)
}

/// Only its owner may have been able to read it.
fn own_file(path: &Path) -> Result<Token, TokenError> {
    let failed = |source| TokenError::Io { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(failed)?;
    if !own::is_ours(&found) {
        return Err(TokenError::Foreign(path.to_owned()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(TokenError::Readable(path.to_owned()));
    }
    token_file(path)
}

/// The token in a file that somebody has put there. Who may read it is theirs to say: a secret of Kubernetes is 0644.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn token_file(path: &Path) -> Result<Token, TokenError> {
    let failed = |source| TokenError::Io { path: path.to_owned(), source };
    let bytes = read_regular(path).map_err(failed)?;
    let token = str::from_utf8(&bytes).map_err(|_| TokenFault::Characters).and_then(Token::parse);
    token.map_err(|fault| TokenError::Fault { path: path.to_owned(), fault })
}

/// Whole or not at all, and for nobody else from the first moment on.
fn make(dir: &Path, path: &Path) -> io::Result<()> {
    let mut secret = [0; 32];
    rand::fill(&mut secret).map_err(|_| io::Error::other("the machine has no randomness"))?;
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let new = dir.join("admin-token.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{hex}")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    fn write(dir: &Path, mode: u32, text: &str) -> PathBuf {
        let path = dir.join("admin-token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_token_is_made_once_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let token = token_in(&state).unwrap();
        assert_eq!(token.reveal().len(), 64);
        assert_eq!(token_in(&state).unwrap(), token);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join("admin-token"))), (0o700, 0o600));
        assert_ne!(token_in(&dir.path().join("other")).unwrap(), token);
    }

    #[test]
    fn a_token_of_somebody_elses_choice_is_read() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0o600, " 0123456789abcdef\n");
        assert_eq!(token_in(dir.path()).unwrap().reveal(), "0123456789abcdef");
    }

    #[test]
    fn a_token_that_somebody_else_put_there_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 0o600, "0123456789abcdef");
        // Only root can give something away.
        if chown(&path, Some(12345), None).is_ok() {
            assert!(matches!(token_in(dir.path()), Err(TokenError::Foreign(_))));
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(token_in(dir.path()), Err(TokenError::Directory(_))));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_and_the_file_stays() {
        for (mode, text, told) in [
            (0o640, "0123456789abcdef", "others can read"),
            (0o604, "0123456789abcdef", "others can read"),
            (0o600, "0123456789abcde", "16 characters at least"),
            (0o600, "", "16 characters at least"),
            (0o600, "0123456789 abcdef", "visible ASCII"),
            (0o600, "0123456789abcdéf", "visible ASCII"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = write(dir.path(), mode, text);
            let error = token_in(dir.path()).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("admin-token"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(token_file(&path).is_ok(), mode != 0o600, "{text:?}");
        }
        let error = token_file(Path::new("/nowhere/token")).unwrap_err().to_string();
        assert!(error.starts_with("can't read or make the admin token /nowhere/token"), "{error}");
    }

    #[test]
    fn a_token_is_never_shown() {
        let shown = format!("{:?}", Token::parse("0123456789abcdef").unwrap());
        assert_eq!(shown, "Token(…)");
    }
}
