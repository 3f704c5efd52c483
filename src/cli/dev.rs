//! `tributary dev`: everything on this machine, without any set-up.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use sqlx::Connection;
use tokio::sync::oneshot;

use super::database::keep_url;
use super::faults::Faults;
use super::serve::check_admin_key;
use super::{CliError, DataDir, Settings, StopRequests, say, secrets, walkthrough};
use crate::access::signing::SigningKeys;
use crate::api::{Context, DevPages, Server, publish_command};
use crate::engine::query::query;
use crate::engine::{Environment, Submission};
use crate::mails::Delivery;
use crate::store::{Actor, Database, Door};
use contract::parse_program;
use domain::{Program, ProgramId, load};
use private_postgres::{Options, PrivatePostgres};

/// The database in the private cluster.
const DATABASE: &str = "tributary";

/// Connections that the private cluster allows: those of the server, and some for psql.
const CLUSTER_CONNECTIONS: u32 = 50;

/// The programs that are published at the first start.
const PROGRAMS: [&str; 5] = [
    include_str!("../../programs/tiered-points.json"),
    include_str!("../../programs/referral-count.json"),
    include_str!("../../programs/first-purchase-bonus.json"),
    include_str!("../../programs/multi-level-commission.json"),
    include_str!("../../programs/first-purchase-credits.json"),
];

#[derive(Args)]
pub(super) struct Dev {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    settings: Settings,
    /// The key that may do everything; if it is not given, one is made and kept in the data directory
    #[arg(long, value_name = "KEY", env = "TRIBUTARY_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    /// The directory with the Postgres programs, if they are not found by themselves
    #[arg(long, value_name = "DIR", env = "TRIBUTARY_PG_BINDIR")]
    pg_bindir: Option<PathBuf>,
    /// The memory of Postgres for its buffers, in MB [default: a quarter of this machine's, 128 to 8192]
    #[arg(
        long,
        value_name = "MB",
        env = "TRIBUTARY_PG_MEMORY_MB",
        value_parser = clap::value_parser!(u32).range(1..=1_048_576)
    )]
    pg_memory_mb: Option<u32>,
    /// Fill the database with sample people, who refer each other and buy
    #[arg(long)]
    sample: bool,
}

impl Dev {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let stop = StopRequests::listen()?;
        let data_dir = self.data_dir.data_dir;
        let mut faults = Faults::default();
        let mut settings = self.settings.resolve(&mut faults)?;
        settings.exempt_loopback();
        let scheme = settings.scheme();
        if let Some(key) = &self.admin_key {
            check_admin_key(key, &mut faults);
        }
        let listener = settings.listener().await?;
        settings.link_to(&listener)?;
        let mails = data_dir.join("mails");
        let mail = settings.mail(Some(&mails), &mut faults);
        faults.result()?;
        // Only faults leave the mails without settings.
        let Some(mail) = mail else { return Err("the settings of mails are wrong".into()) };
        let metrics_listener = settings.metrics_listener().await?;
        let options = Options {
            bin_dir: self.pg_bindir,
            max_connections: CLUSTER_CONNECTIONS.max(settings.max_connections + 20),
            settings: self
                .pg_memory_mb
                .map(|mb| ("shared_buffers".to_owned(), format!("{mb}MB")))
                .into_iter()
                .collect(),
        };
        let (given_key, sample) = (self.admin_key, self.sample);
        let starting = async {
            let cluster = PrivatePostgres::start(&data_dir, &options).await?;
            say(format_args!("the data is in {}", cluster.directory().display()));
            let environment = Environment::of_this_machine()?;
            let admin_key = match given_key {
                Some(key) => key,
                None => kept_admin_key(&data_dir, &environment)?,
            };
            if settings.access.signing_keys.is_none() {
                settings.access.signing_keys = Some(kept_signing_key(&data_dir, &environment)?);
            }
            create_database(&cluster).await?;
            let url = cluster.url(DATABASE);
            keep_url(&data_dir, &url)?;
            let database = Database::new(&url, settings.max_connections)?;
            database.migrate().await?;
            if let Delivery::Files(folder) = &mail.delivery {
                say(format_args!("mails are kept in {}", folder.display()));
            }
            let (dev_pages, link_token) = operator_pages(&data_dir, &environment)?;
            let mut options = settings.server_options(
                database,
                admin_key.clone(),
                environment,
                metrics_listener,
                mail,
            );
            options.settings.dev_pages = Some(dev_pages.clone());
            let server = Server::start(options).await?;
            publish_programs(server.context()).await?;
            let registered = dev_pages.register_operator(server.context()).await;
            registered.map_err(|status| status.message().to_owned())?;
            if sample {
                dev_pages.fill(server.context());
            }
            Ok::<_, CliError>((cluster, server, admin_key, link_token))
        };
        // Dropping the cluster stops it, so an aborted or failed start leaves none running.
        let (mut cluster, server, admin_key, link_token) = tokio::select! {
            started = starting => started?,
            () = stop.clone().requested() => return Ok(()),
        };

        let (died, cluster_died) = oneshot::channel::<()>();
        let shutdown = async {
            tokio::select! {
                () = stop.requested() => {}
                _ = cluster_died => {}
            }
        };
        let url = server.context().settings.public_url.as_ref().map(ToString::to_string);
        let link = format!("{}/sign-in?once={link_token}", url.unwrap_or_default());
        let mut serving = std::pin::pin!(server.serve(listener, shutdown, |address| {
            say(format_args!("the admin key is {admin_key}"));
            say(format_args!("this link signs you in as operator, once, for 15 minutes: {link}"));
            say(format_args!("tributary is ready on {address}"));
            say(walkthrough::text(scheme, address, &admin_key));
        }));
        let outcome = tokio::select! {
            ended = &mut serving => ended,
            error = cluster.exited() => {
                drop(died);
                let _ = serving.await;
                return Err(error.into());
            }
        };
        let stopped = cluster.stop().await;
        outcome?;
        Ok(stopped?)
    }
}

/// The key that an earlier `dev` generated, if there is one.
pub(super) fn read_admin_key(data_dir: &Path) -> Option<String> {
    let key = fs::read_to_string(admin_key_path(data_dir)).ok()?;
    Some(key.trim().to_owned()).filter(|key| !key.is_empty())
}

fn admin_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.key")
}

/// The key in the data directory; created at the first start, readable by its owner only.
fn kept_admin_key(data_dir: &Path, environment: &Environment) -> Result<String, CliError> {
    if let Some(key) = read_admin_key(data_dir) {
        return Ok(key);
    }
    let mut random = [0; 24];
    (environment.random)(&mut random);
    let key = format!("tributary_admin_{}", URL_SAFE_NO_PAD.encode(random));
    secrets::write(&admin_key_path(data_dir), &key)?;
    Ok(key)
}

/// The file with the key that signs access tokens; made at the first start, readable by its owner only.
fn kept_signing_key(data_dir: &Path, environment: &Environment) -> Result<PathBuf, CliError> {
    let path = data_dir.join("signing-keys.pem");
    if !path.exists() {
        secrets::write(&path, &SigningKeys::fresh_pem(environment))?;
    }
    Ok(path)
}

async fn create_database(cluster: &PrivatePostgres) -> Result<(), CliError> {
    let mut connection = sqlx::PgConnection::connect(&cluster.url("postgres")).await?;
    let known: Option<(i32,)> = sqlx::query_as("select 1 from pg_database where datname = $1")
        .bind(DATABASE)
        .fetch_optional(&mut connection)
        .await?;
    if known.is_none() {
        sqlx::query(&format!("create database {DATABASE}")).execute(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}

/// What only `dev` has on its pages, with the token of the link that signs the operator in once. The operator's
/// password is kept in the data directory; made at the first start, readable by its owner only.
fn operator_pages(
    data_dir: &Path,
    environment: &Environment,
) -> Result<(DevPages, String), CliError> {
    let path = data_dir.join("operator.password");
    let kept = fs::read_to_string(&path).map(|password| password.trim().to_owned());
    let password = match kept {
        Ok(password) if !password.is_empty() => password,
        _ => {
            let mut random = [0; 24];
            (environment.random)(&mut random);
            // With something of every kind, whatever the rules are and chance gives.
            let password = format!("Dev-1-{}", URL_SAFE_NO_PAD.encode(random));
            secrets::write(&path, &password)?;
            password
        }
    };
    Ok(DevPages::new(&password, environment))
}

/// Publishes the sample programs that do not exist yet. A program that was changed stays as it is.
async fn publish_programs(context: &Context) -> Result<(), CliError> {
    for json in PROGRAMS {
        let program = parse_program(json)?;
        let program_id = ProgramId::parse(&program.program_id)?;
        let exists = query(&context.database, &context.environment, |work| {
            Ok(load::<Program>(work, &program_id)?.current().is_some())
        })
        .await?;
        if !exists {
            let command = publish_command(&program).map_err(|fault| fault.message().to_owned())?;
            let submission = Submission::new(command, Actor::SYSTEM, Door::DEV);
            context.engine.execute(submission).await?;
        }
    }
    Ok(())
}
