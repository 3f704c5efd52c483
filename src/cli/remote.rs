//! A running server, for the commands that call one.

use std::error::Error as _;

use clap::Args;
use client::Server;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::status::explain;
use super::{CliError, DataDir, dev};

/// A running server, and the key to it.
#[derive(Args)]
pub(super) struct Remote {
    #[command(flatten)]
    server: Server,
    /// The admin key; that of `dev` if it is not given
    #[arg(long, value_name = "KEY", env = "TRIBUTARY_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
}

impl Remote {
    /// The credentials: the given key, or else the key that `dev` keeps in its data directory.
    pub(super) fn authorization(&self) -> Result<MetadataValue<Ascii>, CliError> {
        let given = self.admin_key.clone().filter(|key| !key.is_empty());
        let key = given.or_else(|| dev::read_admin_key(&self.data_dir.data_dir)).ok_or(
            "no admin key: set TRIBUTARY_ADMIN_KEY, or pass --data-dir with the directory of \
             'tributary dev'",
        )?;
        Ok(format!("Bearer {key}").parse()?)
    }

    /// The way to the server.
    pub(super) fn endpoint(&self) -> Result<Endpoint, CliError> {
        Ok(self.server.endpoint()?)
    }

    /// A connection to the server.
    pub(super) async fn connect(&self) -> Result<Channel, CliError> {
        Ok(self.endpoint()?.connect().await.map_err(|error| self.unreachable(&error))?)
    }

    /// Why there is no connection to the server, in words.
    pub(super) fn unreachable(&self, error: &tonic::transport::Error) -> String {
        self.server.unreachable(error)
    }

    /// The error of a call, in words.
    pub(super) async fn explain(&self, status: &Status) -> String {
        // A status with a source was created by this client, because the connection failed.
        let misunderstood = match status.source() {
            Some(_) => self.server.misunderstood().await,
            None => None,
        };
        misunderstood.unwrap_or_else(|| explain(status))
    }
}
