//! The `tributary` program. What it does is in the library, where tests can reach it.

use std::process::ExitCode;

/// Every call and every event makes and drops many small values; measured, this one takes less time over
/// them than that of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tributary::cli::main()
}
