//! The read side: read models that are folded from the log, and queries on them.
//!
//! - [`models`] finds the read models of `projections/` and the tables that hold them; `fold` and `projector`
//!   keep them at the head of the log.
//! - [`Reads`] queries them. Every answer comes from one statement, together with the position that it
//!   reflects. A read can wait for a position.
//! - `lag` measures how far the read models are behind the log, on every server.
//! - [`rebuild`] builds read models again, [`verify`] checks them and the log.
//! - `boards` holds the leaderboards, which are kept in memory; `ranking` makes ranks cheap, `members` makes
//!   boards small.
//!
//! Data that is on a single stream of the log, such as the rewards of a participant, is read from the log and
//! has no read model.

mod accounts;
mod approvals;
mod as_of;
mod audit;
mod audit_store;
mod board;
mod boards;
mod compare;
mod entries;
mod fold;
mod fraud_flags;
mod items;
mod lag;
mod members;
pub mod models;
mod names;
mod oracle;
mod overview;
mod past;
mod payout_audit;
mod payouts;
mod projector;
mod purchases;
mod ranking;
mod rebuild;
mod redemptions;
mod referrals;
mod series;
mod standing;
mod verify;
mod verify_snapshots;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;

pub use accounts::{ListedProgram, ListedUser};
pub use approvals::{ApprovalFilter, ListedApproval};
pub use audit::Finding;
pub use board::{Board, Ranked, Ranks};
pub use boards::Boards;
pub use compare::{Comparison, Difference, Watcher};
pub use entries::{Entry, EntryFilter, Page, WithheldPage};
pub use fraud_flags::{FlagFilter, FlagParty, FlagPlace, ListedFlag};
pub use items::{ItemFilter, ListedItem};
pub use lag::Lag;
pub use overview::{ConversionDay, Overview};
pub use past::{PastFlag, PastReferral, PastSignals, Searched};
pub use payouts::{
    LineFilter, ListedLine, ListedPayout, PayoutMember, payout_members, payout_progress,
};
pub use projector::is_followed;
pub use purchases::{PurchaseFilter, PurchasePage, purchases_table};
pub use ranking::{Place, Ranking};
pub use rebuild::{CopyStatus, MaintenanceError, rebuild, status};
pub use redemptions::{ListedRedemption, RedemptionFilter};
pub use referrals::{Listed, ListedReferral, MAX_BELOW, ReferralList};
pub use series::{Series, SeriesAmount, SeriesBy};
pub use standing::{Member, Standing};
pub use verify::{Verdict, verify};

use crate::lifecycle::{Stage, Tasks};
use crate::metrics::Metrics;
use crate::store::{Database, Epoch, StoreError, in_time};
use crate::traces::Traces;
use models::{ModelCopy, Purpose};

/// How many events are read at once when a whole log or stream is read.
const READ_EVENTS: i64 = 5_000;

/// How often the database is polled for the positions of the read models while a read waits for them.
const WAIT_INTERVAL: Duration = Duration::from_millis(5);

/// How long a read waits for all read models before it checks only those that it queries. The wait doubles each time up
/// to the second value, so that reads that wait for read models that stand still do not exhaust the database.
const WAIT_FOR_ALL: Duration = Duration::from_millis(50);
const LONGEST_WAIT_FOR_ALL: Duration = Duration::from_millis(800);

/// Something that was read, and the position of the log that it reflects.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The position that the result reflects.
    pub position: i64,
    /// The result.
    pub found: T,
}

impl<T> At<Vec<T>> {
    /// The first that was found.
    fn first(self) -> At<Option<T>> {
        At { position: self.position, found: self.found.into_iter().next() }
    }
}

/// How fresh an answer must be, and how long a read may wait for that.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The least position that the answer must reflect.
    pub position: i64,
    /// When to give up.
    pub deadline: Instant,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The read models did not reach the position in time.
    #[error("the read models have reached position {reached}, not yet {wanted}")]
    Behind {
        /// The position that they have reached.
        reached: i64,
        /// The position that was requested.
        wanted: i64,
    },
    /// A leaderboard was not read into memory in time.
    #[error(
        "the leaderboard is still being read into memory, which takes a while if it is long; send the call again"
    )]
    LeaderboardUnread,
    /// A read model of this release has yet to be built from the log.
    #[error(
        "the read models of this release are being built; they have reached {reached} of {head}"
    )]
    Building {
        /// The position of the slowest.
        reached: i64,
        /// The head of the log.
        head: i64,
    },
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Queries the read models. Cheap to clone.
#[derive(Clone)]
pub struct Reads {
    database: Database,
    copies: Arc<[ModelCopy]>,
    /// The position that all read models are known to have reached.
    projected: Arc<watch::Sender<i64>>,
    /// Whether `projected` is always current, so that the database need not be asked.
    leading: Arc<AtomicBool>,
    /// Notified when a read waits for the read models.
    wanted: Arc<Notify>,
    /// Whether all of them have been seen at the head once.
    complete: Arc<AtomicBool>,
    /// Held by the one read that polls the positions; the others wait for its result.
    asking: Arc<Mutex<()>>,
    /// How far the read models were behind at the last measurement.
    lag: watch::Receiver<Lag>,
}

impl Reads {
    /// Creates the tables that do not exist yet, and starts the projector. `grown` signals the head of the log.
    ///
    /// # Errors
    /// [`StoreError`] if the tables cannot be created.
    pub async fn start(
        database: Database,
        epoch: Epoch,
        grown: watch::Receiver<i64>,
        tasks: &Tasks,
        metrics: Metrics,
        traces: Traces,
    ) -> Result<Self, StoreError> {
        let copies: Arc<[ModelCopy]> = models::copies(Purpose::Serve).into();
        let mut connection = database.connect().await?;
        for copy in &*copies {
            copy.create(&mut connection).await?;
        }
        let tables: Vec<&str> = copies.iter().map(|copy| &*copy.table).collect();
        let (progress, head) = fold::progress(&mut connection, &tables).await?;
        for copy in &*copies {
            // The database has lost the end of its log, but not the read models derived from it.
            if progress.iter().any(|at| at.table == copy.table && at.position > head) {
                tracing::warn!(
                    table = copy.table,
                    head,
                    "a read model is ahead of the log; building it again"
                );
                copy.drop(&mut connection).await?;
                copy.create(&mut connection).await?;
            }
        }
        let projected = watch::Sender::new(0);
        let (wanted, leading) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let projector = projector::Projector {
            database: database.clone(),
            epoch,
            copies: copies.clone(),
            grown,
            projected: projected.clone(),
            leading: leading.clone(),
            wanted: wanted.clone(),
            traces,
            run_events: projector::RUN_EVENTS,
            complained_at: None,
        };
        tasks.spawn(Stage::Background, "projector", |stop| projector.run(stop));
        let (of_flags, counts) = (database.clone(), metrics.clone());
        tasks.spawn(Stage::Background, "count of fraud flags", |stop| async {
            fraud_flags::count_open(of_flags, counts, stop).await;
            Ok::<_, Infallible>(())
        });
        let lag = lag::start(database.clone(), &copies, tasks, metrics);
        Ok(Self {
            database,
            copies,
            projected: Arc::new(projected),
            leading,
            wanted,
            complete: Arc::default(),
            asking: Arc::default(),
            lag,
        })
    }

    /// Runs a query, repeatedly if necessary, until its answer is fresh enough. Every row holds the position;
    /// a single row with nothing else means that nothing was found.
    async fn read(
        &self,
        freshness: Freshness,
        query: impl Fn() -> Query<'static, Postgres, PgArguments> + Sync,
    ) -> Result<At<Vec<PgRow>>, ReadError> {
        self.check_complete().await?;
        let mut patience = WAIT_FOR_ALL;
        loop {
            self.wait(freshness, patience).await?;
            patience = LONGEST_WAIT_FOR_ALL.min(patience * 2);
            let rows =
                in_time(async { Ok(query().fetch_all(self.database.pool()).await?) }).await?;
            let position = match rows.first() {
                Some(row) => row.try_get("position")?,
                None => 0,
            };
            let Freshness { position: wanted, deadline } = freshness;
            if position >= wanted {
                return Ok(At { position, found: rows });
            }
            if Instant::now() >= deadline {
                return Err(ReadError::Behind { reached: position, wanted });
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
    }

    /// Reads a list: [`Reads::read`], and `of_row` for each row, which is `None` for the row that says that nothing was
    /// found.
    async fn list<T>(
        &self,
        freshness: Freshness,
        query: impl Fn() -> Query<'static, Postgres, PgArguments> + Sync,
        of_row: impl Fn(&PgRow) -> Result<Option<T>, StoreError>,
    ) -> Result<At<Vec<T>>, ReadError> {
        let rows = self.read(freshness, query).await?;
        let mut found = Vec::with_capacity(rows.found.len());
        for row in &rows.found {
            found.extend(of_row(row)?);
        }
        Ok(At { position: rows.position, found })
    }

    /// Waits until the read models are known to have reached a position, but only briefly: a slow one delays
    /// the others, and those that are queried may have reached the position already.
    async fn wait(&self, freshness: Freshness, patience: Duration) -> Result<(), ReadError> {
        let Freshness { position: wanted, deadline } = freshness;
        let mut projected = self.projected.subscribe();
        if *projected.borrow() >= wanted {
            return Ok(());
        }
        self.wanted.notify_one();
        let reached = async {
            tokio::select! {
                // The sender lives as long as `self`.
                _ = projected.wait_for(|reached| *reached >= wanted) => Ok(()),
                failed = self.ask_until(wanted) => failed,
            }
        };
        let until = deadline.min(Instant::now() + patience);
        tokio::time::timeout_at(until, reached).await.unwrap_or(Ok(()))
    }

    /// Polls the database for the positions of the read models until they are far enough, unless this process
    /// folds them.
    async fn ask_until(&self, wanted: i64) -> Result<(), ReadError> {
        let _turn = self.asking.lock().await;
        while *self.projected.borrow() < wanted {
            if self.leading.load(Ordering::Relaxed) {
                tokio::time::sleep(WAIT_INTERVAL).await;
                continue;
            }
            let (reached, _) = self.progress().await?;
            self.projected.send_if_modified(|known| {
                let is_news = reached > *known;
                *known = reached.max(*known);
                is_news
            });
            if reached < wanted {
                tokio::time::sleep(WAIT_INTERVAL).await;
            }
        }
        Ok(())
    }

    /// The position that all read models have reached, and the head of the log.
    async fn progress(&self) -> Result<(i64, i64), StoreError> {
        let mut connection = self.database.pool().acquire().await?;
        let tables: Vec<&str> = self.copies.iter().map(|copy| &*copy.table).collect();
        let (progress, head) = in_time(fold::progress(&mut connection, &tables)).await?;
        let is_complete =
            progress.len() == tables.len() && progress.iter().all(|copy| copy.is_complete);
        self.complete.fetch_or(is_complete, Ordering::Relaxed);
        let reached = progress.iter().map(|copy| copy.position).min().unwrap_or_default();
        Ok((reached, head))
    }

    /// Checks that all read models have been complete once, so that reads can be answered.
    ///
    /// # Errors
    /// [`ReadError::Building`] if they have not been.
    pub async fn check_complete(&self) -> Result<(), ReadError> {
        if !self.complete.load(Ordering::Relaxed) {
            let (reached, head) = self.progress().await?;
            if !self.complete.load(Ordering::Relaxed) {
                return Err(ReadError::Building { reached, head });
            }
        }
        Ok(())
    }
}

/// The statement of a file in `queries/`: the name of a read model in braces stands for its table, and
/// `{position}` for the position that all these tables have reached.
fn statement(template: &str) -> String {
    let mut sql = template.to_owned();
    let mut reached = Vec::new();
    for model in models::names() {
        let placeholder = format!("{{{model}}}");
        if sql.contains(&placeholder) {
            let table = models::table(model);
            sql = sql.replace(&placeholder, table);
            reached.push(format!(
                "(select position from checkpoints where copy = '{table}' \
                 order by position desc limit 1)"
            ));
        }
    }
    sql.replace("{position}", &format!("least({})", reached.join(", ")))
}

/// The statement of a file in `queries/`, built once.
macro_rules! sql {
    ($file:literal) => {{
        static SQL: std::sync::LazyLock<String> =
            std::sync::LazyLock::new(|| super::statement(include_str!(concat!("queries/", $file))));
        SQL.as_str()
    }};
}
use sql;
