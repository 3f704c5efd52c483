//! A running server, for the commands that call one.

use std::time::Duration;

use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::status::causes;
use super::{CliError, DataDir, dev};

/// How long the server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server, and the key to it.
#[derive(Args)]
pub(super) struct Remote {
    /// The server: http:// speaks plain HTTP/2, https:// speaks TLS and checks the server's certificate
    #[arg(
        long,
        value_name = "URL",
        env = "TRIBUTARY_SERVER",
        default_value = "http://127.0.0.1:50051"
    )]
    server: String,
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

    /// The address of the server. A scheme other than http and https is refused, and https always means TLS.
    pub(super) fn endpoint(&self) -> Result<Endpoint, CliError> {
        let unknown = || {
            format!(
                "'{}' is not the URL of a server, which looks like http://127.0.0.1:50051 or \
                 https://rewards.example.com",
                self.server
            )
        };
        let endpoint = Endpoint::from_shared(self.server.clone()).map_err(|_| unknown())?;
        let endpoint = match endpoint.uri().scheme_str() {
            Some("http") => endpoint,
            Some("https") => endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|error| format!("TLS cannot be used: {}", causes(&error)))?,
            _ => return Err(unknown().into()),
        };
        Ok(endpoint.connect_timeout(CONNECT_TIMEOUT))
    }

    /// A connection to the server.
    pub(super) async fn connect(&self) -> Result<Channel, CliError> {
        let channel = self.endpoint()?.connect().await.map_err(|error| {
            let server = &self.server;
            let causes = causes(&error);
            format!("no server answers at {server} ({causes}); start one, or pass --server")
        })?;
        Ok(channel)
    }
}
