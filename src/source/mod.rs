//! Where changes of the configuration come from: the file, and SIGHUP.
//!
//! Runs on the control thread and sends commands. It must never decide whether a text is good: it only has to
//! bring the right one, whole, soon, and on every file system.

pub mod certificates;
pub mod file;
pub mod replace;
pub mod symlinks;
pub mod watch;
