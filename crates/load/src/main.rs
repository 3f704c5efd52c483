//! The `tributary-load` program. Its code is in the library, where tests can use it.

use std::process::ExitCode;

/// The same allocator as in the server, so that neither side of a comparison has a faster one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tributary_load::main()
}
