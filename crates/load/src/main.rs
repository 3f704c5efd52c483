//! The `tributary-load` program. What it does is in the library, where tests can reach it.

use std::process::ExitCode;

/// As in the server, so that neither side of a comparison has the faster one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tributary_load::main()
}
