//! Commands that maintain a database directly, without a server.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{CliError, DataDir};
use crate::store::Database;

/// The database to maintain.
#[derive(Args)]
pub(super) struct AnyDatabase {
    /// The database, as in `postgres://user:password@host:5432/name`; that of a running `dev` if it is not
    /// given
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
}

impl AnyDatabase {
    /// Opens the database and brings its schema up to date.
    pub(super) async fn open(&self) -> Result<Database, CliError> {
        let kept = read_url(&self.data_dir.data_dir);
        let given = self.database_url.clone().filter(|url| !url.is_empty());
        let url = given.or(kept).ok_or(
            "no database: set DATABASE_URL, or pass --data-dir with the directory of a running \
             'tributary dev'",
        )?;
        let database = Database::new(&url, 1)?;
        database.migrate().await?;
        Ok(database)
    }
}

fn url_path(data_dir: &Path) -> PathBuf {
    data_dir.join("database.url")
}

/// The database of a running `dev`.
fn read_url(data_dir: &Path) -> Option<String> {
    let url = fs::read_to_string(url_path(data_dir)).ok()?;
    Some(url.trim().to_owned()).filter(|url| !url.is_empty())
}

/// Stores the URL of the private database where other commands find it.
pub(super) fn keep_url(data_dir: &Path, url: &str) -> Result<(), CliError> {
    let path = url_path(data_dir);
    fs::write(&path, format!("{url}\n"))
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}
