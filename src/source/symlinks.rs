//! Which directories a change of a file can show in: that of its name, and that of every symlink on the way
//! to it.
//!
//! Kubernetes swaps a `..data` symlink, Nix and Capistrano likewise; an event in the file's own directory
//! never comes. `watch` asks anew after each event, since the way may have changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::config::limits::SYMLINKS;

/// The directories of the names that `path` goes through. A missing file still has those up to where it is
/// missing.
pub fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut hops = 0;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    follow(&absolute, &mut found, &mut hops);
    found
}

/// Walks `path` component by component, so that symlinks among its directories are seen, too.
fn follow(path: &Path, found: &mut BTreeSet<PathBuf>, hops: &mut usize) {
    let mut walked = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        match component {
            Component::CurDir => continue,
            Component::ParentDir => {
                walked.pop();
                continue;
            }
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {}
        }
        let parent = walked.clone();
        walked.push(component);
        if let Ok(target) = fs::read_link(&walked) {
            *hops += 1;
            found.insert(parent.clone());
            if *hops <= SYMLINKS {
                follow(&parent.join(target).join(components.as_path()), found, hops);
            }
            return;
        }
        if components.as_path().as_os_str().is_empty() {
            found.insert(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_symlink_on_the_way_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir(root.join("..2026")).unwrap();
        fs::write(root.join("..2026/crossfade.toml"), "").unwrap();
        symlink("..2026", root.join("..data")).unwrap();
        symlink("..data/crossfade.toml", root.join("crossfade.toml")).unwrap();
        let found = directories(&root.join("crossfade.toml"));
        let expected: BTreeSet<PathBuf> = [root.clone(), root.join("..2026")].into();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_missing_file_and_a_loop_end() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        assert_eq!(directories(&root.join("none.toml")), [root.clone()].into());
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(directories(&root.join("a")), [root].into());
    }
}
