//! The last descriptors of the process are not for connections to backends: health, metrics and the admin API answer
//! also when everything else is used up.
//!
//! `upstream::dial` asks for each new socket; `app` divides the rest. It counts nothing: the kernel gives the lowest
//! number that is free, so a high one says how many are taken.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, getrlimit};

use crate::config::limits::{DESCRIPTORS_KEPT, DESCRIPTORS_KEPT_PART};

/// How many descriptors the process may have.
pub fn limit() -> usize {
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// How many of `limit` are kept for what isn't a visitor's.
pub fn kept(limit: usize) -> usize {
    (limit / DESCRIPTORS_KEPT_PART).clamp(*DESCRIPTORS_KEPT.start(), *DESCRIPTORS_KEPT.end())
}

/// Whether a new socket is none of those that are kept.
///
/// # Errors
/// The one of a process without descriptors.
pub fn leaves_reserve(socket: &impl AsFd) -> io::Result<()> {
    let limit = limit();
    let number = usize::try_from(socket.as_fd().as_raw_fd()).unwrap_or(0);
    if number < limit.saturating_sub(kept(limit)) {
        return Ok(());
    }
    Err(rustix::io::Errno::MFILE.into())
}

/// Whether it says that the process, or the machine, has no descriptors left.
pub fn is_shortage(error: &io::Error) -> bool {
    let shortages = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    error.raw_os_error().is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_kept_and_never_too_little() {
        assert_eq!([64, 256, 1024, 4096, usize::MAX].map(kept), [16, 16, 64, 256, 256]);
    }

    #[test]
    fn a_shortage_is_told_from_other_errors() {
        assert!(
            is_shortage(&rustix::io::Errno::MFILE.into()) && is_shortage(&rustix::io::Errno::NFILE.into())
        );
        assert!(!is_shortage(&io::ErrorKind::ConnectionRefused.into()));
    }
}
