//! Connections to the database: what its URL may say, what is set on each connection, and what is checked.
//!
//! A role, a database, a cluster and a pooler can change nearly everything that a statement relies on. Nothing
//! of that is assumed: what a connection can set is set ([`settings`]), and what it cannot set is checked when
//! the program starts ([`checks`]). Settings are made by statements after connecting, because poolers refuse or
//! drop the startup parameters that would do the same.

mod checks;
mod settings;
mod url;

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

pub use checks::Unsuitable;
pub use url::UrlError;

use super::StoreError;

/// How long opening one connection may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the database is, and what is set on each connection to it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) options: PgConnectOptions,
    /// The statement that sets everything.
    settings: String,
}

impl Target {
    /// Reads the URL of a database.
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let url::Target { options, settings } = url::parse(url)?;
        Ok(Self { options, settings: settings::statement(&settings) })
    }

    /// Prepares a new connection. Fails on a connection that can never be of use.
    pub(super) async fn prepare(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        settings::prepare(connection, &self.settings).await
    }

    /// A new connection, prepared.
    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        in_connect_time(async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            self.prepare(&mut connection).await?;
            Ok(connection)
        })
        .await
    }

    /// Checks what no connection can set.
    ///
    /// # Errors
    /// [`StoreError::Unsuitable`] with what to do about it.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        checks::check_pooling(&self.options).await?;
        let mut connection = self.connect().await?;
        checks::check_database(&mut connection).await?;
        let _ = connection.close().await;
        Ok(())
    }
}

async fn in_connect_time(
    connecting: impl Future<Output = Result<PgConnection, sqlx::Error>>,
) -> Result<PgConnection, StoreError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
    }
}
