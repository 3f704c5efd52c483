//! `tributary keys`: create, list and revoke API keys in the database, for when no key works.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::database::AnyDatabase;
use super::{CliError, say};
use crate::access::key_text::{FreshKey, PREFIX, id_in};
use crate::api::permissions::is_rpc_limit;
use crate::engine::clock::LogClock;
use crate::engine::{self, Committed, Engine, Environment, Submission};
use crate::metrics::Metrics;
use crate::store::api_keys::{self, KeyPlace, KnownKey};
use crate::store::{Actor, Database, Door, epoch};
use crate::traces::Traces;
use domain::decide::Command;
use domain::{ApiKeyId, KeyRole, MAX_KEY_LIMITS, NewApiKey, ProgramId, Timestamp, UserId};

/// How many keys are read at a time.
const LISTED_ROWS: i64 = 500;
/// The longest name, in characters.
const MAX_NAME_CHARS: usize = 128;
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Create a key and print it, once, and its id to stderr
    Create(Box<Create>),
    /// List all keys, the newest first
    List {
        #[command(flatten)]
        database: AnyDatabase,
    },
    /// End a key: running servers know it within a second
    Revoke {
        /// The id of the key, or the key itself
        key: String,
        #[command(flatten)]
        database: AnyDatabase,
    },
}

#[derive(Args)]
pub(super) struct Create {
    /// What the key is called
    #[arg(long)]
    name: String,
    /// What its holder may do
    #[arg(long, value_enum)]
    role: RoleName,
    /// The user whom a key of the role `user` belongs to
    #[arg(long, value_name = "USER_ID", required_if_eq("role", "user"))]
    user: Option<String>,
    /// Limit the key to these RPCs, as in `RecordPurchase,GetPurchase`; also `read-only` and `purchases-only`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    rpcs: Vec<String>,
    /// Limit the key to these programs
    #[arg(long, value_name = "PROGRAM_IDS", value_delimiter = ',')]
    programs: Vec<String>,
    /// End the key after so many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    expires_in_days: Option<u16>,
    #[command(flatten)]
    database: AnyDatabase,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// Everything (`API_KEY_ROLE_ADMIN`)
    Admin,
    /// A back end that acts for its users, and purchases (`API_KEY_ROLE_SERVICE`)
    Service,
    /// One user, only for themselves (`API_KEY_ROLE_USER`)
    User,
}

impl Keys {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List { database } => list(&database.open().await?).await,
            Self::Revoke { key, database } => {
                let id = if key.starts_with(PREFIX) { id_in(&key) } else { Some(&*key) };
                let key_id = ApiKeyId::parse(id.ok_or("the key is mistyped")?)
                    .map_err(|error| format!("the id of a key {error}"))?;
                let command = Command::RevokeApiKey { key_id: key_id.clone() };
                let database = database.open().await?;
                carry_out(&database, Environment::of_this_machine()?, command).await?;
                say(format_args!("revoked {key_id}"));
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let environment = Environment::of_this_machine()?;
        let fresh = FreshKey::draw(&environment).ok_or("no key could be made")?;
        let key = self.read(&fresh, (environment.now)())?;
        let command = Command::CreateApiKey(Box::new(key));
        carry_out(&self.database.open().await?, environment, command).await?;
        say(&fresh.text);
        // Not to stdout, which is the key and nothing else.
        let _ = writeln!(std::io::stderr(), "the id of the key is {}", fresh.key_id);
        Ok(())
    }

    fn read(&self, fresh: &FreshKey, now: Timestamp) -> Result<NewApiKey, CliError> {
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
            return Err(format!("the name must have 1 to {MAX_NAME_CHARS} characters").into());
        }
        let role = match self.role {
            RoleName::Admin => KeyRole::Admin,
            RoleName::Service => KeyRole::Service,
            RoleName::User => KeyRole::User,
        };
        if self.user.is_some() && role != KeyRole::User {
            return Err("--user is for keys of the role user".into());
        }
        if self.rpcs.len() > MAX_KEY_LIMITS || self.programs.len() > MAX_KEY_LIMITS {
            return Err(format!("a key can be limited to {MAX_KEY_LIMITS} of a kind").into());
        }
        if let Some(unknown) = self.rpcs.iter().find(|name| !is_rpc_limit(name)) {
            return Err(format!("'{unknown}' is neither an RPC nor a set of RPCs").into());
        }
        let user_id = self.user.as_deref().map(UserId::parse).transpose();
        let program_ids: Result<Vec<_>, _> =
            self.programs.iter().map(|id| ProgramId::parse(id)).collect();
        let mut program_ids =
            program_ids.map_err(|error| format!("the id of a program {error}"))?;
        program_ids.sort();
        program_ids.dedup();
        let mut rpcs = self.rpcs.clone();
        rpcs.sort();
        rpcs.dedup();
        Ok(NewApiKey {
            key_id: fresh.key_id.clone(),
            hash: fresh.hash,
            name: name.into(),
            role,
            user_id: user_id.map_err(|error| format!("the id of the user {error}"))?,
            rpcs: (!rpcs.is_empty()).then_some(rpcs),
            program_ids: (!program_ids.is_empty()).then_some(program_ids),
            expire_time: self
                .expires_in_days
                .map(|days| now.plus_seconds(i64::from(days) * SECONDS_PER_DAY)),
            created_by: Actor::COMMAND_LINE.as_str().into(),
            creator_user_id: None,
            maker: None,
        })
    }
}

/// Carries out a command on a database without a server: through an engine of this process, as a server would.
async fn carry_out(
    database: &Database,
    environment: Environment,
    command: Command,
) -> Result<Committed, CliError> {
    let metrics = Metrics::default();
    let mut connection = database.connect().await?;
    let epoch = epoch::enter(&mut connection).await?;
    let clock = LogClock::start(&mut connection, environment, metrics.clone()).await?;
    drop(connection);
    // Nobody follows the log in this process.
    let (handover, _unread) = mpsc::channel(1);
    let (engine, worker) = Engine::new(
        database.clone(),
        epoch,
        clock.environment(),
        engine::Limits::default(),
        handover,
        metrics,
        Traces::default(),
    );
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    let submission = Submission::new(command, Actor::COMMAND_LINE, Door::COMMAND_LINE);
    let outcome = engine.execute(submission).await;
    stop.cancel();
    drop(engine);
    let _ = running.await;
    Ok(outcome?)
}

async fn list(database: &Database) -> Result<(), CliError> {
    say(format_args!(
        "{:14} {:8} {:8} {:20} {:20} {:20} {}",
        "id",
        "role",
        "state",
        "created",
        "expires",
        "last used",
        "name, user, limits, creator and refused calls"
    ));
    let now = (Environment::of_this_machine()?.now)();
    let mut before = None;
    loop {
        let keys = api_keys::list(database.pool(), None, before.as_ref(), LISTED_ROWS).await?;
        let Some(last) = keys.last() else { return Ok(()) };
        before = Some(KeyPlace { create_time: last.create_time, key_id: last.key_id.clone() });
        for key in &keys {
            say(line(key, now));
        }
    }
}

fn line(key: &KnownKey, now: Timestamp) -> String {
    let state = match (key.revoke_time, key.expire_time) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now => "expired",
        _ => "valid",
    };
    let mut about = key.name.clone();
    if let Some(user_id) = &key.user_id {
        about.extend([", user ", user_id.as_str()]);
    }
    if let Some(rpcs) = &key.rpcs {
        about.extend([", only ", &rpcs.join(",")]);
    }
    if let Some(program_ids) = &key.program_ids {
        let ids: Vec<&str> = program_ids.iter().map(ProgramId::as_str).collect();
        about.extend([", only in ", &ids.join(",")]);
    }
    about.extend([", by ", &*key.created_by]);
    if key.refused_calls > 0 {
        // Writing to a string cannot fail.
        let _ = write!(about, ", refused {} times", key.refused_calls);
    }
    format!(
        "{:14} {:8} {state:8} {:20} {:20} {:20} {about}",
        key.key_id,
        key.role.as_str(),
        shown(Some(key.create_time)),
        shown(key.expire_time),
        shown(key.last_use_time),
    )
}

/// A time in UTC, to the second.
fn shown(time: Option<Timestamp>) -> String {
    let Some(time) = time else { return "-".into() };
    let seconds = time.0.div_euclid(Timestamp::PER_SECOND);
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}
