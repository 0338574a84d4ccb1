//! Reads the configuration file once it rests: editors and `cp` write in steps.
//!
//! `watch` calls it on every hint of a change, `app` at start. It must never read without bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::config::limits::{CONFIG_DEBOUNCE, CONFIG_READINGS, CONFIG_SIZE};

/// Reads the file, at most [`CONFIG_SIZE`] bytes.
///
/// # Errors
/// Names the file and what the machine said.
pub fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    let shown = || path.display().to_string();
    let bytes = read_regular(path).map_err(|error| ReadError::Io(shown(), error))?;
    if bytes.len() as u64 > CONFIG_SIZE {
        return Err(ReadError::TooLarge(shown()));
    }
    Ok(bytes)
}

/// Reads a regular file, and no more than [`CONFIG_SIZE`] bytes and one.
///
/// # Errors
/// The machine's own, and whatever isn't a regular file.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe waits for whoever writes it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it isn't a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(CONFIG_SIZE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the file until it has been the same for [`CONFIG_DEBOUNCE`]. A file written to without pause is read
/// as it is after a second: the next look finds the rest.
///
/// # Errors
/// As [`read`]: a file that stays away for so long.
pub async fn read_at_rest(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut before = read(path);
    for _ in 0..CONFIG_READINGS {
        tokio::time::sleep(CONFIG_DEBOUNCE).await;
        let now = read(path);
        match (&before, &now) {
            (Ok(before), Ok(bytes)) if before == bytes => return now,
            // A rename takes the name away for a moment.
            _ => before = now,
        }
    }
    before
}

/// A configuration file that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Missing, or not ours to read.
    #[error("can't read {0}: {1}; check the path and its permissions")]
    Io(String, #[source] io::Error),
    /// Some other file, surely.
    #[error("{0} is larger than 4 MiB; that is no configuration")]
    TooLarge(String),
}
