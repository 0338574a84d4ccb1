//! The files that survive a restart: the account's key and the certificate, below the state directory.
//!
//! `renewal` calls it off its own thread, since disks wait. It must never leave half a file, nor one that others can
//! read, nor throw one away that it doesn't understand.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::source::file::read_regular;
use crate::source::replace::replace;

/// The account: JSON.
pub const ACCOUNT: &str = "account.json";
/// The certificate, those that lead to its authority, and its key: PEM in one file, so that they can't be torn apart.
pub const CERTIFICATE: &str = "certificate.pem";

/// Where one authority's files are.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Below `state_dir`, by the host of the authority's directory: a trial at its staging keeps apart.
    pub fn new(state_dir: &Path, directory: &str) -> Self {
        let host = directory.split("//").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        let name: String = host.chars().map(plain).collect();
        Self(state_dir.join("acme").join(name))
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What is in a file; nothing where there is none.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        match read_regular(&self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(name, error)),
        }
    }

    /// Puts a file in place of the one before, whole or not at all, whatever happens to the machine.
    ///
    /// # Errors
    /// When it can't; the one before is still there.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.replace(name, bytes).map_err(|error| self.error(name, error))
    }

    /// Keeps a file that can't be used aside, for a person to look at.
    ///
    /// # Errors
    /// When it can't be renamed.
    pub fn set_aside(&self, name: &str) -> Result<(), StateError> {
        let aside = self.path(&format!("{name}.broken"));
        fs::rename(self.path(name), aside).map_err(|error| self.error(name, error))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        // It may have been made by somebody with other habits.
        fs::set_permissions(&self.0, Permissions::from_mode(0o700))?;
        replace(&self.0, name, bytes)
    }

    fn error(&self, name: &str, error: io::Error) -> StateError {
        StateError { path: self.path(name), error }
    }
}

/// A file that can't be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("can't keep or read {}: {error}; check [state] dir, its permissions and its disk", path.display())]
pub struct StateError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub error: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(dir: &Path) -> Folder {
        Folder::new(dir, "https://127.0.0.1:14000/dir")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_for_nobody_else_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir.path().join("state"));
        assert!(folder.read(ACCOUNT).unwrap().is_none());
        folder.write(ACCOUNT, b"one").unwrap();
        // What a crash left behind is in nobody's way, whoever could read it.
        fs::write(folder.path("account.json.new"), "torn").unwrap();
        folder.write(ACCOUNT, b"two").unwrap();
        assert_eq!(folder.read(ACCOUNT).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(mode(&folder.path(ACCOUNT)), 0o600);
        assert_eq!(mode(folder.path(ACCOUNT).parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(folder.path(ACCOUNT).parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_broken_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        folder.write(CERTIFICATE, b"torn").unwrap();
        folder.set_aside(CERTIFICATE).unwrap();
        assert!(folder.read(CERTIFICATE).unwrap().is_none());
        assert_eq!(fs::read(folder.path("certificate.pem.broken")).unwrap(), b"torn");
    }

    #[test]
    fn authorities_keep_apart_and_below_the_state_directory() {
        let path = |directory| Folder::new(Path::new("/s"), directory).path("x").display().to_string();
        assert_eq!(
            path("https://acme-v02.api.letsencrypt.org/directory"),
            "/s/acme/acme-v02.api.letsencrypt.org/x"
        );
        assert_eq!(path("https://[::1]:14000/dir"), "/s/acme/___1__14000/x");
    }

    #[test]
    fn what_cannot_be_kept_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("acme"), "a file where a directory should be").unwrap();
        let error = folder(dir.path()).write(ACCOUNT, b"x").unwrap_err().to_string();
        assert!(error.contains("account.json") && error.contains("check [state] dir"), "{error}");
    }
}
