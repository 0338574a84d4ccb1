//! The journal's file and its lock, in the state directory.
//!
//! `writer` calls it on the journal's own thread: each call may take as long as a disk does. It must never write
//! without the lock, say that something is kept before the disk has said so, nor open what isn't a regular file.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::limits::{JOURNAL_LINES, JOURNAL_READ, JOURNAL_SIZE};
use crate::control::journal::line::{Lines, Reading};
use crate::source::replace::{replace, sync_dir};

/// The journal's file.
pub(super) const JOURNAL: &str = "journal";
/// Who has this one locked may write.
pub(super) const LOCK: &str = "lock";
/// What is kept of a journal that can't be read.
pub(super) const BROKEN: &str = "journal.broken";

/// The journal, open and ours.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    lock: File,
    file: File,
    /// Bytes that are kept.
    size: u64,
    /// Lines that are kept.
    count: usize,
}

impl Store {
    /// Makes what is missing, takes the lock, reads what is there.
    ///
    /// # Errors
    /// What is in the way.
    pub(super) fn open(dir: &Path) -> Result<(Self, Reading), StoreError> {
        make(dir).map_err(|error| StoreError::at(dir, error))?;
        let lock = lock(dir)?;
        let path = dir.join(JOURNAL);
        let found = read(&path)?;
        let opened = || {
            let file = append_to(&path)?;
            if found.is_none() {
                sync_dir(dir)?;
            }
            let size = file.metadata()?.len();
            Ok((file, size))
        };
        let (file, size) = opened().map_err(|error| StoreError::at(&path, error))?;
        let reading = found.unwrap_or_default();
        Ok((Self { dir: dir.to_owned(), lock, file, size, count: reading.count }, reading))
    }

    /// Brings a file that was just read in order, so that it has `lines`, the last `newer` of which it hasn't. `anew`:
    /// even if it looks in order.
    ///
    /// # Errors
    /// The machine's own. Nothing that was kept is lost.
    pub(super) fn settle(
        &mut self,
        reading: &Reading,
        lines: &Lines,
        newer: usize,
        anew: bool,
    ) -> Result<(), StoreError> {
        if reading.is_broken() {
            self.set_aside().map_err(|error| self.error(error))?;
        }
        if reading.is_broken() || anew {
            return self.rewrite(lines);
        }
        if reading.torn > 0 {
            self.size -= reading.torn as u64;
            self.file.set_len(self.size).map_err(|error| self.error(error))?;
        }
        self.append(lines, newer)
    }

    /// Adds the last `newer` of `lines`.
    ///
    /// # Errors
    /// The machine's own. A [`StoreError::Sync`] leaves open what is on the disk.
    pub(super) fn append(&mut self, lines: &Lines, newer: usize) -> Result<(), StoreError> {
        let bytes = lines.tail(newer);
        if let Err(error) = self.file.write_all(&bytes) {
            // Half a line must not stand before the next. If it can't be cut off now, it will be when it is read.
            let _ = self.file.set_len(self.size);
            return Err(self.error(error));
        }
        self.file.sync_data().map_err(|error| StoreError::Sync { path: self.path(), error })?;
        self.size += bytes.len() as u64;
        self.count += newer;
        Ok(())
    }

    /// Writes it anew, with these lines alone.
    ///
    /// # Errors
    /// The machine's own; the file before is still there.
    pub(super) fn rewrite(&mut self, lines: &Lines) -> Result<(), StoreError> {
        let bytes = lines.tail(lines.count());
        let written = replace(&self.dir, JOURNAL, &bytes).and_then(|()| append_to(&self.path()));
        self.file = written.map_err(|error| self.error(error))?;
        self.size = bytes.len() as u64;
        self.count = lines.count();
        Ok(())
    }

    /// Whether it has become too long.
    pub(super) fn is_long(&self) -> bool {
        self.count > JOURNAL_LINES || self.size > JOURNAL_SIZE
    }

    /// Whether file and lock are still those that the directory has, and nobody else has written.
    pub(super) fn is_there(&self) -> bool {
        let size = self.file.metadata().map(|found| found.len());
        is_at(&self.lock, &self.dir.join(LOCK))
            && is_at(&self.file, &self.path())
            && size.is_ok_and(|size| size == self.size)
    }

    /// Keeps the file beside, under another name; it stays in its place until another takes it.
    fn set_aside(&self) -> io::Result<()> {
        let aside = self.dir.join(BROKEN);
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Not every file system has links.
        fs::hard_link(self.path(), &aside).or_else(|_| fs::copy(self.path(), &aside).map(drop))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(JOURNAL)
    }

    fn error(&self, error: io::Error) -> StoreError {
        StoreError::at(&self.path(), error)
    }
}

/// What is in a journal, of which nobody needs to be the owner; nothing where there is none.
///
/// # Errors
/// It can't be read.
pub(super) fn read(path: &Path) -> Result<Option<Reading>, StoreError> {
    match read_tail(path) {
        Ok((bytes, cut)) => Ok(Some(Reading::of(&bytes, cut))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::at(path, error)),
    }
}

/// Why nothing can be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The machine says no.
    #[error("can't use {}: {error}; check the state directory, its permissions and its disk", path.display())]
    Io {
        /// What can't be used.
        path: PathBuf,
        /// What the machine says.
        #[source]
        error: io::Error,
    },
    /// The disk may have lost what it took.
    #[error("{} may not be on its disk: {error}; check the disk", path.display())]
    Sync {
        /// What it was written to.
        path: PathBuf,
        /// What the machine says.
        #[source]
        error: io::Error,
    },
    /// Two can't write one journal.
    #[error("another crossfade uses {}: stop it, or give each a state directory of its own", .0.display())]
    Held(PathBuf),
    /// What is behind ours is another's state: to write behind it would undo it.
    #[error("{} has changes that this process doesn't serve by: restart it to take them over", .0.display())]
    Foreign(PathBuf),
}

impl StoreError {
    fn at(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }
}

/// Makes a directory and those above it, so that they survive the machine.
fn make(dir: &Path) -> io::Result<()> {
    if dir.symlink_metadata().is_ok() && !dir.is_dir() {
        return Err(io::Error::new(ErrorKind::NotADirectory, "it isn't a directory"));
    }
    let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    dir.ancestors()
        .skip(1)
        .take(missing)
        .try_for_each(|above| sync_dir(if above.as_os_str().is_empty() { Path::new(".") } else { above }))
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let opened = regular(&path)
        .and_then(|_| OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path));
    let file = opened.map_err(|error| StoreError::at(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Held(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreError::at(&path, error)),
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The bytes, or the last of them, and whether there are more.
fn read_tail(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let found = regular(path)?.ok_or(ErrorKind::NotFound)?;
    let mut file = File::open(path)?;
    let cut = found.len() > JOURNAL_READ;
    if cut {
        file.seek(SeekFrom::Start(found.len() - JOURNAL_READ))?;
    }
    let mut bytes = Vec::new();
    file.take(JOURNAL_READ).read_to_end(&mut bytes)?;
    Ok((bytes, cut))
}

/// Looked at before it is opened: opening a pipe waits for whoever is at its other end.
fn regular(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(_) => Err(io::Error::new(ErrorKind::InvalidInput, "it isn't a regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let place = |found: Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => place(ours) == place(theirs),
        _ => false,
    }
}
