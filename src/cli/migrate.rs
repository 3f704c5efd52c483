//! `tributary migrate`: bring a schema up to date.

use clap::Args;

use super::{CliError, DatabaseSettings, say};
use crate::store::Database;

#[derive(Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<(), CliError> {
        Database::new(&self.database.database_url, 1)?.migrate().await?;
        say("the schema is up to date");
        Ok(())
    }
}
