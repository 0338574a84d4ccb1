//! The admin API's unix socket, `<state dir>/admin.sock`: whoever may open the file may steer.
//!
//! `app` opens it at start and removes it at the end. It must never be open to others, not for a moment, nor take the
//! place of one that somebody listens at.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::own::{self, OwnError};
use crate::config::limits::{ADMIN_CONNECTIONS, UNIX_PATH};

/// The name of the socket in the state directory.
const NAME: &str = "admin.sock";
/// Its name until nobody else can open it; not longer than [`NAME`].
const NEW: &str = "admin.new";

/// A socket that listens.
#[derive(Debug)]
pub struct AdminSocket {
    /// Where.
    pub path: PathBuf,
    socket: UnixListener,
    own: Identity,
}

impl AdminSocket {
    /// Listens in a state directory, which is made where there is none.
    ///
    /// # Errors
    /// Names the path, what is wrong, and the remedy.
    pub fn bind(dir: &Path) -> Result<Self, SocketError> {
        let path = dir.join(NAME);
        if path.as_os_str().len() > UNIX_PATH {
            return Err(SocketError::Long(path));
        }
        own::directory(dir)?;
        let bind = || {
            if is_taken(&path)? {
                return Ok(None);
            }
            listen(&dir.join(NEW), &path).map(Some)
        };
        match bind() {
            Ok(Some((socket, own))) => Ok(Self { path, socket, own }),
            Ok(None) => Err(SocketError::Taken(path)),
            Err(source) => Err(SocketError::Io { path, source }),
        }
    }

    /// Goes on with one that another process has opened, where its file is still at its place.
    pub fn adopt(path: PathBuf, socket: UnixListener, own: (u64, u64)) -> Option<Self> {
        identity(&path).is_ok_and(|there| there == own).then_some(Self { path, socket, own })
    }

    /// What another process needs to go on with it: another handle, and device and inode of its file.
    ///
    /// # Errors
    /// When no descriptors are left.
    pub fn share(&self) -> io::Result<(UnixListener, (u64, u64))> {
        Ok((self.socket.try_clone()?, self.own))
    }

    /// The path in a state directory.
    pub fn path_in(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// What serves, and what removes the file at the end.
    pub fn divide(self) -> (UnixListener, SocketFile) {
        (self.socket, SocketFile { path: self.path, own: Some(self.own) })
    }
}

/// The file of a socket. It goes when this is dropped, unless somebody else has put theirs in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Nothing once it is another process's.
    own: Option<Identity>,
}

impl SocketFile {
    /// Leaves the file to another process.
    pub fn leave(mut self) {
        self.own = None;
    }

    /// Whether there is a file at its place, and so a way in.
    pub fn is_there(&self) -> bool {
        identity(&self.path).is_ok()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| Some(there) == self.own) {
            // One that somebody else removed is gone already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why the socket can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system takes no such path.
    #[error("{} is too long for a socket: {UNIX_PATH} bytes at most; choose a shorter `[state] dir`", .0.display())]
    Long(PathBuf),
    /// Somebody listens.
    #[error("another crossfade listens at {}: stop it, or give this one another `[state] dir`", .0.display())]
    Taken(PathBuf),
    /// Its directory can't be used.
    #[error(transparent)]
    Directory(#[from] OwnError),
    /// What the machine said.
    #[error("can't listen at {}: {source}; check `[state] dir` and its permissions", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Nobody can connect before it listens, and it listens when nobody else may.
fn listen(new: &Path, path: &Path) -> io::Result<(UnixListener, Identity)> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(new)?)?;
    fs::set_permissions(new, Permissions::from_mode(0o600))?;
    socket.listen(i32::try_from(ADMIN_CONNECTIONS).unwrap_or(i32::MAX))?;
    let own = identity(new)?;
    fs::rename(new, path)?;
    Ok((socket.into(), own))
}

/// Whether somebody listens; an error where there is something that is no socket.
fn is_taken(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is there"));
        }
        Ok(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose queue is full is asked without waiting.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_is_for_its_owner_alone_and_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (socket, file) = AdminSocket::bind(&state).unwrap().divide();
        let path = state.join(NAME);
        assert_eq!((mode(&state), mode(&path)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_nobody_listens_at_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let old = AdminSocket::bind(dir.path()).unwrap();
        assert!(matches!(AdminSocket::bind(dir.path()), Err(SocketError::Taken(_))));
        fs::write(dir.path().join(NEW), "left by a crash").unwrap();
        let (socket, file) = old.divide();
        drop(socket);
        let next = AdminSocket::bind(dir.path()).unwrap();
        drop(file);
        assert!(next.path.exists(), "it is another's now");
    }

    #[test]
    fn a_directory_that_others_write_to_is_no_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(AdminSocket::bind(dir.path()), Err(SocketError::Directory(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_in_the_way_is_named_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, "precious").unwrap();
        let error = AdminSocket::bind(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no socket is there") && error.contains("[state] dir"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = dir.path().join("x".repeat(UNIX_PATH));
        let error = AdminSocket::bind(&long).unwrap_err().to_string();
        assert!(error.contains("too long") && !long.exists(), "{error}");
    }
}
