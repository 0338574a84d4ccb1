//! A proxy whose program can be replaced while it runs, and the processes that follow one another.
//!
//! It must never leave one of them behind: they share a process group, which ends with the test.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::command::{Said, say};
use super::config::{Config, DIRECTORY};
use super::proxy::Proxy;
use super::wait_until;

impl Proxy {
    /// Starts it by a file of its own, which can be replaced.
    pub(crate) fn replaceable(config: &Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("crossfade.toml");
        let shown = directory.path().display().to_string();
        std::fs::write(&path, config.text().replace(DIRECTORY, &shown)).unwrap();
        let program = directory.path().join("crossfade");
        symlink(env!("CARGO_BIN_EXE_crossfade"), &program).unwrap();
        let mut command = Command::new(program);
        command.process_group(0);
        Self::start_by(command, directory, &path)
    }

    /// Puts a script in the place of the program.
    pub(crate) fn replace_program(&self, script: &str) {
        let parked = self.directory.path().join("parked");
        std::fs::write(&parked, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&parked, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(parked, self.program_path()).unwrap();
    }

    /// Puts the program itself there.
    pub(crate) fn restore_program(&self) {
        let parked = self.directory.path().join("parked");
        symlink(env!("CARGO_BIN_EXE_crossfade"), &parked).unwrap();
        std::fs::rename(parked, self.program_path()).unwrap();
    }

    /// Has another process take over, by the command line; its process id.
    pub(crate) fn upgrade(&self) -> u32 {
        pid_of(&self.steer("upgrade"))
    }

    /// Waits until the process that was started has ended, and not those that follow it; its exit code.
    pub(crate) fn first_exit_code(&mut self) -> i32 {
        let mut code = None;
        wait_until("the first process ends", || {
            code = self.try_exit_code();
            code.is_some()
        });
        code.expect("it ends by itself")
    }

    fn program_path(&self) -> PathBuf {
        self.directory.path().join("crossfade")
    }
}

/// The process that serves now, as `crossfade upgrade` and the log tell it.
pub(crate) fn pid_of(told: &str) -> u32 {
    let (_, rest) = told.split_once("process ").unwrap_or_else(|| panic!("no process in {told}"));
    rest.split_once(' ').unwrap().0.parse().unwrap()
}

/// A verb of the command line, for another thread.
pub(crate) fn asked(proxy: &Proxy, words: &'static str) -> impl FnOnce() -> Said + Send + 'static {
    let state = proxy.state();
    move || say(&state, words)
}
