//! The program: its allocator, its command line, its exit code.

use std::process::ExitCode;

/// A thread-per-core proxy frees on the thread that allocated, which mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    crossfade::cli::main()
}
