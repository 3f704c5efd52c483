//! `tributary serve`: the server on an existing database.

use clap::Args;

use super::database::database_at;
use super::faults::Faults;
use super::{CliError, DatabaseSettings, Settings, StopRequests, say};
use crate::api::Server;
use crate::engine::Environment;
use crate::store::{Database, StoreError, load};

#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    settings: Settings,
    /// The key that may do everything
    #[arg(long, value_name = "KEY", env = "TRIBUTARY_ADMIN_KEY", hide_env_values = true)]
    admin_key: String,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let stop = StopRequests::listen()?;
        let mut faults = Faults::default();
        let settings = self.settings.resolve(&mut faults)?;
        check_admin_key(&self.admin_key, &mut faults);
        let mail = settings.mail(None, &mut faults);
        faults.result()?;
        // Only faults leave the mails without settings.
        let Some(mail) = mail else { return Err("the settings of mails are wrong".into()) };
        if settings.access.signing_keys.is_none() {
            if settings.access.require_second_factor {
                return Err("require_second_factor needs signing_keys, a file with the keys that encrypt second \
                            factors: without it nobody can set one up, and no operator or admin gets \
                            further than a user"
                    .into());
            }
            tracing::warn!(
                "no --signing-keys (TRIBUTARY_SIGNING_KEYS): this process signs access tokens with a key of its own, \
                 which nobody keeps. Other servers refuse these tokens, and so does every server after a restart, \
                 until clients call RefreshSession; second factors can be neither set up nor checked"
            );
        }
        if !mail.delivery.delivers() {
            tracing::info!(
                "there is no mail server (SMTP_URL), so nobody gets mail; what happens meanwhile is not made up for \
                 later"
            );
        }
        let listener = settings.listener().await?;
        let metrics_listener = settings.metrics_listener().await?;
        let database = database_at(&self.database.database_url, settings.max_connections)?;
        let starting = async {
            database.migrate().await?;
            say_if_empty(&database).await?;
            let environment = Environment::of_this_machine()?;
            let options = settings.server_options(
                database,
                self.admin_key,
                environment,
                metrics_listener,
                mail,
            );
            Ok::<_, CliError>(Server::start(options).await?)
        };
        let server = tokio::select! {
            started = starting => started?,
            () = stop.clone().requested() => return Ok(()),
        };
        server
            .serve(listener, stop.requested(), |address| {
                say(format_args!("tributary is ready on {address}"));
            })
            .await?;
        Ok(())
    }
}

/// A database without programs earns nobody anything, and `dev` has shown programs that are not here.
async fn say_if_empty(database: &Database) -> Result<(), StoreError> {
    if load::program_ids(database.pool(), "", 1).await?.is_empty() {
        tracing::info!(
            "no program is published yet; 'tributary program publish FILE' publishes one, such as those in \
             programs/, and 'tributary program list' lists them"
        );
    }
    Ok(())
}

/// The shortest admin key, in characters.
const LEAST_KEY: usize = 16;

/// A key must fit into a header, and be hard to guess.
pub(super) fn check_admin_key(key: &str, faults: &mut Faults) {
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        faults.add("admin_key", "must be printable ASCII without blanks");
    } else if key.len() < LEAST_KEY {
        let length = key.len();
        faults.add(
            "admin_key",
            format_args!(
                "has {length} characters and could be guessed; it must have at least {LEAST_KEY}, as 'openssl rand \
                 -hex 24' makes them"
            ),
        );
    }
}
