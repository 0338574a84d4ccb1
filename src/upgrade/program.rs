//! Which program an upgrade starts: the one that would be started by the same words now.
//!
//! `app` asks when the process starts, `successor` when it is upgraded: between the two the file, or what a symlink
//! leads to, has become another. It must never start a program that somebody names from afar: whoever may steer may not
//! run what they like.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How this process was started.
#[derive(Debug, Clone)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// By the words that this process has.
    pub fn own() -> Self {
        let mut words = env::args_os();
        let name = words.next().unwrap_or_default();
        Self { name, arguments: words.collect() }
    }

    /// The name that it was called by.
    pub fn name(&self) -> &OsString {
        &self.name
    }

    /// The words behind it.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Where it is now.
    ///
    /// # Errors
    /// The machine doesn't say.
    pub fn path(&self) -> io::Result<PathBuf> {
        let search = env::var_os("PATH").unwrap_or_default();
        match found(Path::new(&self.name), env::split_paths(&search)) {
            Some(path) => Ok(path),
            None => env::current_exe().map(undeleted),
        }
    }
}

/// What a shell would start by this name.
fn found(name: &Path, search: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    if name.as_os_str().as_bytes().contains(&b'/') {
        return Some(name.to_owned()).filter(|path| path.is_file());
    }
    if name.as_os_str().is_empty() {
        return None;
    }
    search.map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Linux says so of a program whose file was removed or replaced.
fn undeleted(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) => PathBuf::from(OsString::from_vec(path.to_vec())),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_as_a_shell_would() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("crossfade");
        std::fs::write(&file, "").unwrap();
        let search = || [PathBuf::from("/nowhere"), directory.path().to_owned()].into_iter();
        assert_eq!(found(Path::new("crossfade"), search()), Some(file.clone()));
        assert_eq!(found(&file, std::iter::empty()), Some(file.clone()));
        assert_eq!(found(Path::new("./crossfade"), search()), None, "a path isn't searched for");
        assert_eq!(found(Path::new("another"), search()), None);
        assert_eq!(found(Path::new(""), search()), None);
    }

    #[test]
    fn a_replaced_file_is_the_one_in_its_place() {
        assert_eq!(undeleted("/opt/crossfade (deleted)".into()), Path::new("/opt/crossfade"));
        assert_eq!(undeleted("/opt/crossfade".into()), Path::new("/opt/crossfade"));
    }
}
