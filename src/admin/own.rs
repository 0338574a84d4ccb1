//! The state directory as a place for keys: nobody else may put anything there.
//!
//! `socket` and `token` ask before they use what is in it. It must never change the mode of what somebody else made.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why a directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// Somebody could put their token in place of ours.
    #[error(
        "{} belongs to another user, whose token and socket would be believed: choose another `[state] dir`",
        .0.display()
    )]
    Foreign(PathBuf),
    /// The same.
    #[error(
        "others may write to {}: `chmod 700` it, or choose another `[state] dir`, as a new one in it",
        .0.display()
    )]
    Writable(PathBuf),
    /// What the machine said.
    #[error("can't use {}: {source}; check `[state] dir` and its permissions", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes sure that there is a directory, and that nobody else may write to it.
pub(super) fn directory(dir: &Path) -> Result<(), OwnError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir).and_then(|()| fs::metadata(dir));
    let found = made.map_err(|source| OwnError::Io { path: dir.to_owned(), source })?;
    if !is_ours(&found) {
        Err(OwnError::Foreign(dir.to_owned()))
    } else if found.mode() & 0o022 != 0 {
        Err(OwnError::Writable(dir.to_owned()))
    } else {
        Ok(())
    }
}

/// Whether it belongs to whom this process belongs to, or to root, who may do everything anyway.
pub(super) fn is_ours(found: &Metadata) -> bool {
    found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_directory_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, is_fine) in
            [(0o700, true), (0o755, true), (0o500, true), (0o770, false), (0o702, false), (0o1777, false)]
        {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            let told = directory(dir.path()).map_err(|error| error.to_string());
            assert_eq!(told.is_ok(), is_fine, "{mode:o}");
            assert!(told.err().is_none_or(|error| error.contains("`chmod 700` it")), "{mode:o}");
        }
        let new = dir.path().join("a/b");
        directory(&new).unwrap();
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o777, 0o700);
        // Only root can give something away.
        if chown(&new, Some(12345), None).is_ok() {
            let error = directory(&new).unwrap_err().to_string();
            assert!(error.contains("belongs to another user") && error.contains("[state] dir"), "{error}");
        }
        fs::write(dir.path().join("file"), "").unwrap();
        let error = directory(&dir.path().join("file")).unwrap_err().to_string();
        assert!(error.starts_with("can't use ") && error.contains("[state] dir"), "{error}");
    }
}
