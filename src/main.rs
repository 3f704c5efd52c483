//! The `tributary` program. Its code is in the library, where tests can use it.

use std::process::ExitCode;

/// Every call and every event allocates and frees many small values; in measurements, mimalloc spends less
/// time on them than the allocator of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tributary::cli::main()
}
