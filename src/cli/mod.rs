//! The command line: one file per subcommand.

mod dev;
mod logging;
mod migrate;
mod program;
mod serve;
mod settings;
mod walkthrough;

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use settings::{DatabaseSettings, Settings};

/// A referral and rewards engine: commands in over gRPC, an event log in Postgres, rewards out on live
/// streams.
///
/// Start with `tributary dev`: it needs nothing but an installed Postgres, and prints commands to try.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine: a private Postgres, the server, and the five sample programs
    Dev(dev::Dev),
    /// Run the server on a Postgres database of yours
    Serve(serve::Serve),
    /// Bring the schema of a database up to date (`dev` and `serve` do it by themselves)
    Migrate(migrate::Migrate),
    /// Publish and list referral programs on a running server
    #[command(subcommand)]
    Program(program::Program),
}

/// Where `dev` keeps its data unless told otherwise.
const DEFAULT_DATA_DIR: &str = ".tributary";

/// The directory that `dev` keeps its data in.
#[derive(clap::Args, Clone, Debug)]
struct DataDir {
    /// Where `dev` keeps its database and its admin key
    #[arg(long, value_name = "DIR", env = "TRIBUTARY_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
}

/// What went wrong, in words for whoever typed the command.
type CliError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the program on the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start threads: {error}")),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Dev(dev) => dev.run().await,
            Command::Serve(serve) => serve.run().await,
            Command::Migrate(migrate) => migrate.run().await,
            Command::Program(program) => program.run().await,
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {message}");
    ExitCode::FAILURE
}

/// Says something to whoever reads stdout; it is no harm if nobody does.
fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Resolves at Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
