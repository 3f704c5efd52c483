//! `tributary projections`: look after the read models.

use clap::{Args, Subcommand};

use super::database::AnyDatabase;
use super::progress::Progress;
use super::{CliError, say};
use crate::read::models::{Purpose, drop_copy};
use crate::read::{Comparison, CopyStatus, is_followed, rebuild, status};
use crate::store::functions;

#[derive(Subcommand)]
pub(super) enum Projections {
    /// Build a new copy of a read model, compare it with the copy in use, and replace that copy
    Rebuild(Rebuild),
    /// Show the position, the lag and the size of each copy of each read model
    Status {
        #[command(flatten)]
        database: AnyDatabase,
    },
    /// Drop copies of read models and database functions of other releases; run this once no server of those
    /// releases runs any more
    Prune {
        #[command(flatten)]
        database: AnyDatabase,
    },
}

#[derive(Args)]
pub(super) struct Rebuild {
    /// The read model, or `all`
    name: String,
    #[command(flatten)]
    database: AnyDatabase,
}

impl Projections {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Rebuild(Rebuild { name, database }) => {
                let database = database.open().await?;
                let comparison = rebuild(&database, &name, &mut Progress::new()).await?;
                say_compared(&comparison);
                say(format_args!("{name}: rebuilt, and serving"));
            }
            Self::Status { database } => {
                let mut connection = database.open().await?.connect().await?;
                for line in table(&status(&mut connection).await?) {
                    say(line);
                }
            }
            Self::Prune { database } => {
                let mut connection = database.open().await?.connect().await?;
                let mut dropped = 0;
                for copy in status(&mut connection).await? {
                    if copy.purpose.is_some() {
                        continue;
                    }
                    if is_followed(&mut connection, &copy.table).await? {
                        say(format_args!("kept {}: a server keeps it up to date", copy.table));
                        continue;
                    }
                    drop_copy(&mut connection, &copy.table).await?;
                    say(format_args!("dropped {}", copy.table));
                    dropped += 1;
                }
                for (function, is_dropped) in functions::prune(&mut connection).await? {
                    if is_dropped {
                        say(format_args!("dropped {function}"));
                        dropped += 1;
                    } else {
                        say(format_args!("kept {function}: a server of its release runs"));
                    }
                }
                if dropped == 0 {
                    say("nothing was dropped");
                }
            }
        }
        Ok(())
    }
}

/// Prints the result of a comparison.
pub(super) fn say_compared(comparison: &Comparison) {
    for (model, rows) in &comparison.compared {
        say(format_args!("{model}: {rows} rows compared"));
    }
    for difference in &comparison.differences {
        say(difference);
    }
    if comparison.differing_rows > 0 {
        say(format_args!("rows that differed: {}", comparison.differing_rows));
    }
}

fn table(copies: &[CopyStatus]) -> Vec<String> {
    let mut lines = vec![format!(
        "{:16} {:28} {:9} {:>12} {:>10} {:>9} {:>10}",
        "model", "table", "state", "position", "lag events", "lag s", "size MB"
    )];
    lines.extend(copies.iter().map(|copy| {
        let state = match copy.purpose {
            Some(Purpose::Serve) if copy.is_complete => "serving",
            Some(Purpose::Serve) => "building",
            Some(Purpose::Rebuild) => "rebuild",
            Some(Purpose::Verify) => "verify",
            None => "outdated",
        };
        #[allow(clippy::cast_precision_loss, reason = "sizes and times for people")]
        let (seconds, megabytes) = (copy.lag_us as f64 / 1e6, copy.size_bytes as f64 / 1e6);
        format!(
            "{:16} {:28} {state:9} {:>12} {:>10} {seconds:>9.3} {megabytes:>10.1}",
            copy.model, copy.table, copy.position, copy.lag_events
        )
    }));
    lines
}
