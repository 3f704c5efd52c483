//! The command line: one file per subcommand.

mod address;
mod call;
mod database;
mod dev;
mod door;
mod faults;
mod files;
mod keys;
mod logging;
mod mail;
mod migrate;
mod optional;
mod pg_options;
mod program;
mod progress;
mod projections;
mod remote;
mod resolved;
mod secrets;
mod serve;
mod settings;
mod status;
mod stripe;
mod verify;
mod walkthrough;

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use client::{StopRequests, matches_of};

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
    /// Call any RPC of a running server, with the request and the answer as JSON
    Call(Box<call::Call>),
    /// Create, list and revoke API keys in the database, for when no key works
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Try out the endpoint for webhooks of Stripe
    #[command(subcommand)]
    Stripe(stripe::Stripe),
    /// Look after the read models: rebuild them, see how far they are
    #[command(subcommand)]
    Projections(projections::Projections),
    /// Fold the whole log from scratch, compare it with every read model, and check that the log itself holds
    Verify(verify::Verify),
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

/// An error, worded for the user of the command line.
type CliError = Box<dyn std::error::Error + Send + Sync>;

/// A command line that is wrong. The process ends with the exit code of usage errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

impl From<CliError> for UsageError {
    fn from(error: CliError) -> Self {
        Self(error.to_string())
    }
}

/// The exit code of usage errors, the same as clap's.
const USAGE_EXIT_CODE: u8 = 2;

/// Runs the program on the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let matches = matches_of(Cli::command());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    logging::start();
    if let Err(error) = pg_options::leave_out() {
        return failed(&error.to_string(), ExitCode::FAILURE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return failed(&format!("cannot start threads: {error}"), ExitCode::FAILURE);
        }
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Dev(dev) => Box::pin(dev.run()).await,
            Command::Serve(serve) => serve.run().await,
            Command::Migrate(migrate) => migrate.run().await,
            Command::Program(program) => program.run().await,
            Command::Call(call) => call.run().await,
            Command::Keys(keys) => Box::pin(keys.run()).await,
            Command::Stripe(stripe) => stripe.run().await,
            Command::Projections(projections) => projections.run().await,
            Command::Verify(verify) => verify.run().await,
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let is_usage = error.is::<UsageError>();
            let code = if is_usage { ExitCode::from(USAGE_EXIT_CODE) } else { ExitCode::FAILURE };
            failed(&error.to_string(), code)
        }
    }
}

fn failed(message: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {message}");
    code
}

/// Prints a line to stdout; ignores a closed stdout.
fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
