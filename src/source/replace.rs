//! Puts a file in place of another: whole or not at all, for nobody else to read.
//!
//! `tls::acme::state` and `control::journal` call it for what survives a restart, off the control thread, since disks
//! wait. It must never leave half a file under the file's own name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes `name` in `dir` by way of `name.new`, whatever happens to the machine meanwhile.
///
/// # Errors
/// The machine's own. The file before is still there, unless it was the directory's last sync that failed.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // On a full disk, half of it would only be in the way.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    fs::rename(&new, dir.join(name))?;
    sync_dir(dir)
}

/// Makes a directory's names survive the machine.
///
/// # Errors
/// The machine's own.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
