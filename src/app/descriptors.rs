//! The descriptors of the process: as many as the machine gives, and who gets them.
//!
//! `app` calls it at start. A visitor's connection and the one to its backend take one each; a part is kept for health,
//! metrics, the admin API and files, which must answer when visitors have to wait.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::limits::{DESCRIPTORS_LATER, DESCRIPTORS_UPSTREAM, DESCRIPTORS_WORKER};
use crate::upstream::descriptors::kept;
pub(super) use crate::upstream::descriptors::limit;

/// Takes as many as there may be: what is usual per process is from times when a thousand were many.
pub(super) fn raise() {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    // Where it is refused, what there is has to do.
    let _ = setrlimit(Resource::Nofile, limits);
}

/// How many visitors' connections there are descriptors for, where workers will have so many `listeners` in all.
pub(super) fn for_visitors(workers: usize, listeners: usize) -> usize {
    let limit = limit();
    // Where nobody can say, what a process has at its start.
    let open = std::fs::read_dir("/proc/self/fd").map_or(32, Iterator::count);
    divided(limit, open + DESCRIPTORS_LATER + workers * (DESCRIPTORS_WORKER + listeners))
}

fn divided(limit: usize, used: usize) -> usize {
    let left = limit.saturating_sub(kept(limit)).saturating_sub(used);
    (left / 2).max(left.saturating_sub(DESCRIPTORS_UPSTREAM)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_is_for_visitors_or_more_where_there_are_many() {
        assert_eq!(divided(1024, 24), (1024 - 64 - 24) / 2);
        assert_eq!(divided(20_000, 100), 20_000 - 256 - 100 - DESCRIPTORS_UPSTREAM);
        assert_eq!((divided(64, 20), divided(20, 20)), (14, 1));
    }
}
