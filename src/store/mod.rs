//! The event store: all access to the log in Postgres and the rows that belong to it. Nothing here knows what
//! a reward is.
//!
//! - [`append`] puts a batch of commands into the log, in one round trip.
//! - [`load`] reads streams into aggregates, and looks up what decisions need besides.
//! - [`log`] reads the log by position, or one stream of it.
//! - [`epoch`] distinguishes one life of a database from the next.
//! - [`envelope`] holds who caused a command and how it came in.
//! - [`connection`] is what is set on every connection, and what is checked of the database.
//! - [`functions`] creates and names the database functions; [`schema`] finds what is missing.
//! - [`holders`] keeps processes that hang from blocking the others.
//! - [`snapshots`] sorts out snapshots that are of no use.
//! - [`payouts`] is what payouts need of the log, and how people are paid.
//! - [`timed`] is what tables have in common of what is to be done at a moment: [`releases`] is that of hold periods
//!   that end, [`expirations`] that of lots that expire.
//! - [`jobs`] is the table of jobs, [`sessions`] those of sessions.
//! - [`mails`] queues mails, and holds what their senders note about them; [`mailed_tokens`] are the tokens in their
//!   links.
//! - [`sign_ups`] holds sign-ups that wait until their address is confirmed.
//! - [`second_factors`] holds second factors, and what of them is used up.
//! - [`stripe`] holds what Stripe told by webhooks.
//! - [`visits`] counts visits of shared links, and [`seen_tiers`] holds which tiers people were shown.
//! - [`claims`] looks up who owns a unique value, [`purchases`] what a buyer has bought.

pub mod api_keys;
pub mod append;
pub mod claims;
mod connection;
pub mod cut_off;
mod envelope;
pub mod epoch;
pub mod evidence;
pub mod expirations;
mod fraud_keys;
pub mod functions;
pub mod holders;
pub mod jobs;
pub mod load;
pub mod log;
pub mod mailed_tokens;
pub mod mails;
pub mod notes;
pub mod payouts;
pub mod personal;
mod profiles;
pub mod purchases;
pub mod referees;
pub mod releases;
mod rights;
pub mod schema;
pub mod second_factors;
pub mod seen_tiers;
pub mod sessions;
pub mod sign_ups;
mod snapshots;
pub mod stripe;
pub mod timed;
mod transaction;
pub mod visits;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

pub use append::{Appended, Batch, Duplicate, Verdict};
use connection::{CONNECT_TIMEOUT, Target};
pub use connection::{Unsuitable, UrlError};
pub use envelope::{Actor, Door, Envelope};
pub use epoch::Epoch;
pub use fraud_keys::FraudKeys;
pub use load::{Loaded, Lookups};
pub use log::RecordedEvent;
pub use profiles::{
    OwnProfile, ProfileNames, ids_of_display_name, own_profile, own_profile_of, profile_email,
    profile_names, profile_names_of,
};
pub use rights::{MissingRights, with_missing_rights};
pub use transaction::{begin, begin_with};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// How long a reader waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may be idle before it is tested.
const IDLE: Duration = Duration::from_millis(500);
/// How long that test may take. A connection that is cut off does not answer at all.
const PING_TIMEOUT: Duration = Duration::from_millis(300);

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be reached, or no answer came. The statement may or may not have been carried
    /// out.
    #[error("the database is unavailable: {}", in_words(.0))]
    Unavailable(#[source] sqlx::Error),
    /// The database refused the statement; nothing was done.
    #[error("the database refused: {0}")]
    Refused(#[source] sqlx::Error),
    /// The log holds an event that cannot be read.
    #[error("{stream} at sequence {sequence} cannot be read: {source}")]
    Unreadable {
        /// The stream.
        stream: String,
        /// The sequence in the stream.
        sequence: i64,
        /// Why.
        source: domain::DecodeError,
    },
    /// The database returned something that makes no sense.
    #[error("the database returned something unexpected: {0}")]
    Nonsense(String),
    /// The database is not the one that this process began with: it was failed over, restored or replaced,
    /// and may have lost events that are known here.
    #[error("the database is not the one that this process began with; start it again")]
    Elsewhere,
    /// The role of the connection lacks rights that a server needs.
    #[error("{0}")]
    Rights(MissingRights),
    /// The URL of the database cannot be used.
    #[error("the URL of the database {0}")]
    Url(#[from] UrlError),
    /// The database can be reached, but is not fit for use.
    #[error("the database cannot be used: {0}")]
    Unsuitable(#[from] Unsuitable),
    /// The schema could not be brought up to date.
    #[error("the migrations failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// Why the database is unavailable, where the error itself does not say it to those who run servers.
fn in_words(error: &sqlx::Error) -> Cow<'_, str> {
    let code = error.as_database_error().and_then(DatabaseError::code);
    match (error, code.as_deref()) {
        (sqlx::Error::PoolTimedOut, _) => "no answer, or no free connection, in time".into(),
        (_, Some("57P01")) => {
            "the session was ended, by an operator or by another server because this one held a \
             lock and made no progress"
                .into()
        }
        (_, Some("57P05" | "25P03" | "25P04")) => {
            "the session was ended by Postgres, because this process was silent for too long".into()
        }
        _ => error.to_string().into(),
    }
}

impl StoreError {
    /// Whether the same may succeed later: the database is away, or somebody has dropped a table or function that is
    /// created again or restored.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Refused(sqlx::Error::Database(error)) => {
                let code = error.code();
                let code = code.as_deref().unwrap_or_default();
                // No such function, table or schema. One that disappears while it is used is only known by its
                // number, and has no code of its own.
                ["42883", "42P01", "3F000"].contains(&code)
                    || (code == "XX000"
                        && ["cache lookup failed for", "could not open relation with OID"]
                            .iter()
                            .any(|start| error.message().starts_with(start)))
            }
            _ => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let refused = match &error {
            sqlx::Error::Database(database) => !database.code().is_some_and(|code| {
                // Connection exceptions, denied or missing access, insufficient resources, unavailable locks,
                // operator intervention, system errors, a standby that accepts no writes, and a server that
                // timed out waiting for this process.
                ["08", "28", "3D", "53", "57", "58"].contains(&&code[..2])
                    || ["25006", "25P03", "40P01", "55P03"].contains(&&*code)
            }),
            sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::RowNotFound => true,
            _ => false,
        };
        if refused { Self::Refused(error) } else { Self::Unavailable(error) }
    }
}

/// How long to wait for the answer to one statement.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds how long an operation on the database may take. (Boxed: the compiler cannot prove that a borrowing
/// future of a generic type is `Send`.)
///
/// # Errors
/// The error of `work`; [`StoreError::Unavailable`] if it takes too long.
pub async fn in_time<'a, T>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> Result<T, StoreError> {
    until(Instant::now() + ANSWER_TIMEOUT, work).await
}

/// As [`in_time`], with the moment until which the operation may take.
///
/// # Errors
/// The error of `work`; [`StoreError::Unavailable`] if it takes longer.
pub async fn until<'a, T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> Result<T, StoreError> {
    let work: Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>> = Box::pin(work);
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
    }
}

/// A Postgres database, or one schema of it, and how to connect to it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Shared, because everything that is cheap to clone holds a database.
    target: Arc<Target>,
    pool: PgPool,
    listening: PgPool,
}

impl Database {
    /// Prepares for `url`, without connecting yet.
    ///
    /// The schema is the first of the connection's search path; `?options=-csearch_path%3Dtenant` in the URL
    /// selects one other than `public`.
    ///
    /// # Errors
    /// [`StoreError::Url`] if the URL is malformed, or says something that cannot be honoured.
    pub fn new(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let target = Arc::new(Target::parse(url)?);
        let pool = |connections| {
            pool_options(target.clone(), connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                // Testing a connection takes as long as a read, and a busy connection is alive.
                .test_before_acquire(false)
                .before_acquire(|connection, known| {
                    Box::pin(async move {
                        let is_busy = known.idle_for < IDLE;
                        let ping = tokio::time::timeout(PING_TIMEOUT, connection.ping());
                        Ok(is_busy || ping.await.is_ok_and(|answered| answered.is_ok()))
                    })
                })
                .connect_lazy_with(target.options.clone())
        };
        let (pool, listening) = (pool(max_connections), pool(1));
        Ok(Self { target, pool, listening })
    }

    /// Connections for reading.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The pool of the one connection for listening to notices, which a listener keeps.
    #[must_use]
    pub fn listening(&self) -> &PgPool {
        &self.listening
    }

    /// A separate connection for listening to notices.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if none could be opened in time.
    pub async fn listener(&self) -> Result<PgListener, StoreError> {
        let pool = pool_options(self.target.clone(), 1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(self.target.options.clone());
        Ok(PgListener::connect_with(&pool).await?)
    }

    /// A separate connection.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if none could be opened in time.
    pub async fn connect(&self) -> Result<PgConnection, StoreError> {
        self.target.connect().await
    }

    /// Checks that the database is fit for use, brings the schema up to date, and checks that the role can use
    /// it. Several servers may do this at once.
    ///
    /// # Errors
    /// [`StoreError::Unsuitable`] if the database is not fit for use; [`StoreError::Migration`] if a migration
    /// fails or the schema is newer than this release; [`StoreError::Rights`] if the role lacks rights.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.target.check().await?;
        let mut connection = self.connect().await?;
        match bring_up_to_date(&mut connection).await {
            Ok(()) => rights::check(&mut connection).await,
            Err(error) => Err(rights::with_missing_rights(&mut connection, error).await),
        }
    }

    /// The secret that keys fingerprints of requests.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn fingerprint_secret(&self) -> Result<Vec<u8>, StoreError> {
        self.secret("fingerprint").await
    }

    /// The secret that keys the hashes of addresses; see [`personal::address_key`].
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn address_secret(&self) -> Result<Vec<u8>, StoreError> {
        self.secret("addresses").await
    }

    /// What makes the keyed hashes of fraud checks.
    ///
    /// # Errors
    /// [`StoreError`] if their secret cannot be read.
    pub async fn fraud_keys(&self) -> Result<FraudKeys, StoreError> {
        let keys = FraudKeys::new(&self.secret("fraud").await?);
        keys.ok_or_else(|| StoreError::Nonsense("a secret that cannot be a key".into()))
    }

    async fn secret(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let query = sqlx::query_scalar("select value from secrets where name = $1").bind(name);
        Ok(query.fetch_one(&self.pool).await?)
    }
}

async fn bring_up_to_date(connection: &mut PgConnection) -> Result<(), StoreError> {
    // Without the permission to create anything, a server can still start on a schema that is up to date.
    if !is_migrated(connection).await? {
        // Another server may be migrating, which can take long. If its process hangs, its connection is ended.
        holders::be_patient(connection).await?;
        holders::limit_silence(connection).await?;
        MIGRATIONS.run(&mut *connection).await?;
    }
    let missing = schema::missing(connection, schema::TABLES, &[]).await?;
    if let Some(missing) = missing.in_words() {
        return Err(Unsuitable::Incomplete(missing).into());
    }
    functions::create_missing(connection, functions::all()).await
}

/// A pool whose connections are prepared before they are used.
fn pool_options(target: Arc<Target>, max_connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(max_connections).after_connect(move |connection, _| {
        let target = target.clone();
        Box::pin(async move { target.prepare(connection).await })
    })
}

/// Whether all migrations of this release, and no others, have been carried out.
async fn is_migrated(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let known: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Ok(false);
    }
    let done: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("select version, checksum, success from _sqlx_migrations order by version")
            .fetch_all(connection)
            .await?;
    let wanted = MIGRATIONS.iter().map(|migration| (migration.version, &*migration.checksum, true));
    Ok(done.iter().map(|(version, sum, success)| (*version, &**sum, *success)).eq(wanted))
}
