//! The `tributary` program. What it does is in the library, where tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tributary::cli::main()
}
