//! `tributary verify`: check the log and everything derived from it.

use clap::Args;

use super::database::AnyDatabase;
use super::progress::Progress;
use super::projections::say_compared;
use super::{CliError, say};
use crate::read::verify;

#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    database: AnyDatabase,
}

impl Verify {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let database = self.database.open().await?;
        let verdict = verify(&database, &mut Progress::new()).await?;
        say_compared(&verdict.comparison);
        for finding in &verdict.findings {
            say(finding);
        }
        if verdict.is_good() {
            say(format_args!(
                "{} events, {} rewards reckoned anew: everything is as it should be",
                verdict.events, verdict.rewards
            ));
            return Ok(());
        }
        let (rows, findings) = (verdict.comparison.differing_rows, verdict.finding_count);
        let help = if rows > 0 {
            "; 'tributary projections rebuild all' rebuilds the read models"
        } else {
            ""
        };
        Err(format!("rows that differ from the log: {rows}; other findings: {findings}{help}")
            .into())
    }
}
