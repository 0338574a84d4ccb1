//! Which pages the kernel gives us.
//!
//! `app` calls it at start. It must never fail a start: a kernel that can't do it gives what it gives.

/// Small ones alone. Allocators ask for huge ones, and the kernel clears the whole of one, 2 MiB, at its first touch:
/// for milliseconds nobody on that worker was served, whenever many connections came at once.
#[cfg(target_os = "linux")]
pub fn small() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Nothing is known of others.
#[cfg(not(target_os = "linux"))]
pub fn small() {}
