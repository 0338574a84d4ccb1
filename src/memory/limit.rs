//! How much memory there may be, and how much is used: by the configuration, the cgroup's own files, the machine.
//!
//! `memory::watch` reads here. It must never take what it can't read for a limit: nothing means none.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::limits::MEMORY_SHARE;

/// Where the kernel tells of processes and memory.
const PROC: &str = "/proc";
/// A limit of version 1 that means none: whole pages below 2^63.
const NO_LIMIT: u64 = 1 << 62;
/// Bytes of a page on every machine that we are built for; statm counts in them.
const PAGE: u64 = 4096;

/// Where the memory of this process is bounded from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Bytes there may be.
    pub limit: u64,
    /// What the cgroup uses, and the file that tells which of that is only kept for later.
    cgroup: Option<(PathBuf, PathBuf)>,
}

impl Outside {
    /// The tighter of cgroup and machine, less a tenth: what is read as used is never all of it.
    pub fn find() -> Option<Self> {
        Self::of(Path::new(PROC), Path::new("/sys/fs/cgroup"))
    }

    fn of(proc: &Path, root: &Path) -> Option<Self> {
        let share = |bytes: u64| (bytes as f64 * MEMORY_SHARE) as u64;
        let machine = total(&fs::read_to_string(proc.join("meminfo")).ok()?);
        let group = group(&fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default(), root);
        match (group, machine) {
            (Some((limit, files)), machine) if machine.is_none_or(|total| limit <= total) => {
                Some(Self { limit: share(limit), cgroup: Some(files) })
            }
            (_, Some(total)) => Some(Self { limit: share(total), cgroup: None }),
            (_, None) => None,
        }
    }

    /// What the cgroup uses, the kernel's share for our sockets included, which no process's own figure has.
    pub fn used(&self) -> Option<u64> {
        let (usage, stat) = self.cgroup.as_ref()?;
        let used: u64 = fs::read_to_string(usage).ok()?.trim().parse().ok()?;
        let kept = fs::read_to_string(stat).ok().and_then(|stat| field(&stat, "inactive_file")).unwrap_or(0);
        Some(used.saturating_sub(kept))
    }
}

/// Bytes of this process that are in memory; without those of its program file, which the kernel drops as it likes.
pub fn resident() -> Option<u64> {
    resident_of(&fs::read_to_string(Path::new(PROC).join("self/statm")).ok()?)
}

fn resident_of(statm: &str) -> Option<u64> {
    let mut fields = statm.split_ascii_whitespace().skip(1);
    let (resident, shared): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(resident.saturating_sub(shared) * PAGE)
}

/// `MemTotal` of /proc/meminfo.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The limit of the own group or the one above, whichever is tighter, and the files of that one's use.
fn group(own: &str, root: &Path) -> Option<(u64, (PathBuf, PathBuf))> {
    let groups = own.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        match controllers {
            "" => Some((root.to_path_buf(), path, "memory.max", "memory.current")),
            "memory" => Some((root.join("memory"), path, "memory.limit_in_bytes", "memory.usage_in_bytes")),
            _ => None,
        }
    });
    let bounded = groups.flat_map(|(root, path, limit, usage)| {
        // Inside a container the path may be the host's, and the group itself the root.
        let path = Path::new(path.trim_start_matches('/'));
        let folders: Vec<PathBuf> = path.ancestors().map(|part| root.join(part)).collect();
        folders.into_iter().filter_map(move |folder| {
            let bytes: u64 = fs::read_to_string(folder.join(limit)).ok()?.trim().parse().ok()?;
            (bytes < NO_LIMIT).then(|| (bytes, (folder.join(usage), folder.join("memory.stat"))))
        })
    });
    bounded.min_by_key(|(bytes, _)| *bytes)
}

fn field(stat: &str, name: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn with(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(folder)
        }

        fn outside(&self) -> Option<Outside> {
            Outside::of(&self.0.path().join("proc"), &self.0.path().join("cgroup"))
        }
    }

    /// Files, and the limit they make.
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<u64>);

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:         250000 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_limit_is_that_of_the_tightest_group_or_of_the_machine() {
        let cases: [Case<'_>; 8] = [
            (&[], None),
            (&[MEMINFO], Some(250_000 * 1024)),
            (
                &[MEMINFO, ("proc/self/cgroup", "0::/a/b\n"), ("cgroup/a/b/memory.max", "1000000\n")],
                Some(1_000_000),
            ),
            // That of a group above binds as well.
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("cgroup/a/b/memory.max", "1000000\n"),
                    ("cgroup/a/memory.max", "500000\n"),
                ],
                Some(500_000),
            ),
            // In a container the path is often the host's.
            (&[MEMINFO, ("proc/self/cgroup", "0::/\n"), ("cgroup/memory.max", "700000\n")], Some(700_000)),
            (
                &[MEMINFO, ("proc/self/cgroup", "0::/a\n"), ("cgroup/a/memory.max", "max\n")],
                Some(250_000 * 1024),
            ),
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "5:cpu:/x\n4:memory:/y\n0::/\n"),
                    ("cgroup/memory/y/memory.limit_in_bytes", "800000\n"),
                    ("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(800_000),
            ),
            // More than the machine has is no limit.
            (
                &[MEMINFO, ("proc/self/cgroup", "0::/\n"), ("cgroup/memory.max", "70000000000\n")],
                Some(250_000 * 1024),
            ),
        ];
        for (files, expected) in cases {
            let found = Machine::with(files).outside().map(|outside| outside.limit);
            assert_eq!(found, expected.map(|bytes| (bytes as f64 * MEMORY_SHARE) as u64), "{files:?}");
        }
    }

    #[test]
    fn what_is_used_leaves_out_what_the_kernel_only_keeps() {
        let machine = Machine::with(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/a\n"),
            ("cgroup/a/memory.max", "1000000\n"),
            ("cgroup/a/memory.current", "600000\n"),
            ("cgroup/a/memory.stat", "anon 1\ninactive_file 100000\nactive_file 7\n"),
        ]);
        assert_eq!(machine.outside().unwrap().used(), Some(500_000));
        assert_eq!(Machine::with(&[MEMINFO]).outside().unwrap().used(), None);
    }

    #[test]
    fn resident_memory_is_told_in_pages_and_without_files() {
        assert_eq!(resident_of("765 437 408 5 0 123 0\n"), Some(29 * PAGE));
        assert_eq!(resident_of("765"), None);
        assert_eq!(resident_of(""), None);
        assert!(resident().is_some_and(|bytes| bytes > 0 && bytes < NO_LIMIT));
    }
}
