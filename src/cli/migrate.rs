//! `tributary migrate`: bring a schema up to date.

use clap::Args;

use super::database::database_at;
use super::{CliError, DatabaseSettings, say};

#[derive(Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<(), CliError> {
        database_at(&self.database.database_url, 1)?.migrate().await?;
        say("the schema is up to date");
        Ok(())
    }
}
