//! Commands that maintain a database directly, without a server.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use client::causes;

use super::{CliError, DataDir, secrets};
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
        let url = self.database_url.clone().or(kept).ok_or(
            "no database: set DATABASE_URL, or pass --data-dir with the directory of a running \
             'tributary dev'",
        )?;
        let database = database_at(&url, 1)?;
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
    secrets::write(&url_path(data_dir), url)
}

/// The database at a URL. Nothing is sent yet.
pub(super) fn database_at(url: &str, max_connections: u32) -> Result<Database, CliError> {
    if let Some(fault) = fault_of(url) {
        return Err(not_a_url(&fault).into());
    }
    // Nothing is done but read the URL, so that is what an error is about.
    let database = Database::new(url, max_connections);
    Ok(database.map_err(|error| not_a_url(&causes(&error)))?)
}

/// The error for a URL that is none. The URL itself is not repeated, because it has a password in it.
fn not_a_url(fault: &str) -> String {
    format!(
        "the database's URL (DATABASE_URL or --database-url) is wrong: {fault}; write it as \
         postgres://user:password@host:5432/name, with %40 for @, %2F for /, %3A for : and %23 for # in the \
         password"
    )
}

/// What is wrong with the scheme of a URL.
fn fault_of(url: &str) -> Option<String> {
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => None,
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Some(format!("'{scheme}' is not a scheme of Postgres"))
        }
        _ => Some("it does not begin with postgres://".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_is_wrong_is_told_what_is_wrong_and_its_password_is_not_repeated() {
        for (url, fault) in [
            ("mysql://u:secret@host/db", "'mysql' is not a scheme of Postgres"),
            ("localhost/tributary", "does not begin with postgres://"),
            ("u:secret@host:5432/tributary", "does not begin with postgres://"),
            ("postgres:/u:secret@host/db", "does not begin with postgres://"),
            ("postgres://u:secret@host:port/db", "invalid port number"),
            ("postgres://u:sec/ret@host/db", "invalid port number"),
            ("postgres://u:secret@host/db?sslmode=perhaps", "perhaps"),
            ("", "does not begin with postgres://"),
        ] {
            let refused = database_at(url, 1).map(|_| ()).map_err(|error| error.to_string());
            let refused = refused.err().unwrap_or_default();
            assert!(refused.contains(fault), "{url}: {refused}");
            assert!(refused.contains("write it as postgres://"), "{url}: {refused}");
            assert!(
                !refused.contains("refused") && !refused.contains("secret"),
                "{url}: {refused}"
            );
        }
        for url in ["postgres://host/db", "postgresql://u:p@host:5433/db?sslmode=require"] {
            assert!(database_at(url, 1).is_ok(), "{url}");
        }
    }
}
