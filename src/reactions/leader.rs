//! The loop that moves reactions. Each reaction is moved by one server at a time, the one that holds its advisory
//! lock. The lock is on the connection that also does the work, so it is lost with the process. The database ends a
//! connection that becomes silent (see [`super::step::ready`]), so that a hung process does not block the other
//! servers.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Reaction, step};
use crate::lifecycle::{Stage, Tasks};
use crate::store::{Database, Epoch, StoreError, epoch, in_time};

/// How often a server that does not move a reaction tries to take its lock.
const ELECTION_INTERVAL: Duration = Duration::from_millis(500);
/// How often the log is polled when nothing signals that it has grown. Well below the time after which the
/// database ends a silent connection.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after the head was reached, so that the next run is longer, which costs less per event.
const REST: Duration = Duration::from_millis(50);
/// How often a stalled reaction is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);
/// The number of rounds between two sweeps of old checkpoints.
const ROUNDS_PER_SWEEP: u32 = 16;

/// Starts moving reactions. `grown` signals the head of the log. Without reactions, nothing is started.
///
/// # Errors
/// [`StoreError`] if a new reaction cannot be registered.
pub async fn start(
    database: Database,
    epoch: Epoch,
    reactions: Vec<Reaction>,
    grown: watch::Receiver<i64>,
    tasks: &Tasks,
) -> Result<(), StoreError> {
    if reactions.is_empty() {
        return Ok(());
    }
    let mut connection = database.connect().await?;
    for reaction in &reactions {
        in_time(step::register(&mut connection, *reaction)).await?;
    }
    let leader = Leader { database, epoch, reactions, grown, complained_at: None };
    tasks.spawn(Stage::Background, "reactions", |stop| leader.run(stop));
    Ok(())
}

struct Leader {
    database: Database,
    epoch: Epoch,
    reactions: Vec<Reaction>,
    grown: watch::Receiver<i64>,
    /// When a stalled reaction was last logged.
    complained_at: Option<Instant>,
}

impl Leader {
    async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        loop {
            let failed = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Err(error) = self.serve() => error,
            };
            if matches!(failed, StoreError::Elsewhere) {
                return Err(failed);
            }
            tracing::warn!(error = %failed, "reactions cannot be moved; trying again");
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep(ELECTION_INTERVAL) => {}
            }
        }
    }

    /// Moves the reactions on one connection until it fails.
    async fn serve(&mut self) -> Result<Infallible, StoreError> {
        let mut connection = self.database.connect().await?;
        if !in_time(epoch::is_present(&mut connection, self.epoch)).await? {
            return Err(StoreError::Elsewhere);
        }
        in_time(step::ready(&mut connection)).await?;
        let (mut led, mut elected_at) = (Vec::new(), None::<Instant>);
        let mut rounds = 0_u32;
        loop {
            let is_time = elected_at.is_none_or(|at| at.elapsed() >= ELECTION_INTERVAL);
            if led.len() < self.reactions.len() && is_time {
                led = in_time(lead(&mut connection, &self.reactions, led)).await?;
                elected_at = Some(Instant::now());
            }
            self.grown.borrow_and_update();
            rounds = rounds.wrapping_add(1);
            let sweeps = rounds.is_multiple_of(ROUNDS_PER_SWEEP);
            if self.round(&mut connection, &led, sweeps).await? {
                continue;
            }
            sleep(REST).await;
            if led.is_empty() {
                sleep(ELECTION_INTERVAL).await;
            } else {
                let _ = timeout(POLL_INTERVAL, self.grown.changed()).await;
            }
        }
    }

    /// Moves each reaction that this server leads by one run; returns whether any of them can continue at
    /// once.
    async fn round(
        &mut self,
        connection: &mut PgConnection,
        led: &[Reaction],
        sweeps: bool,
    ) -> Result<bool, StoreError> {
        let mut is_behind = false;
        for reaction in led {
            match in_time(step::step(connection, *reaction, sweeps)).await {
                Ok(step) => is_behind |= step.reached < step.head,
                Err(error @ (StoreError::Unavailable(_) | StoreError::Elsewhere)) => {
                    return Err(error);
                }
                // A reaction that cannot be moved must not block the others.
                Err(error) => self.complain(*reaction, &error),
            }
        }
        Ok(is_behind)
    }

    fn complain(&mut self, reaction: Reaction, error: &StoreError) {
        if self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
            tracing::error!(%error, reaction = reaction.name, "this reaction stands still");
            self.complained_at = Some(Instant::now());
        }
    }
}

/// The reactions that this server leads already, and those whose locks are free. Locks last as long as the
/// connection. Each reaction has its own lock, because another release may have other reactions.
async fn lead(
    connection: &mut PgConnection,
    reactions: &[Reaction],
    mut led: Vec<Reaction>,
) -> Result<Vec<Reaction>, StoreError> {
    for reaction in reactions {
        if led.iter().any(|of| of.name == reaction.name) {
            continue;
        }
        let row = sqlx::query(
            "select pg_try_advisory_lock(\
                 hashtextextended('tributary reaction ' || current_schema() || ' ' || $1, 0))",
        )
        .bind(reaction.name)
        .fetch_one(&mut *connection)
        .await?;
        if row.try_get(0)? {
            tracing::debug!(reaction = reaction.name, "this server moves the reaction");
            led.push(*reaction);
        }
    }
    Ok(led)
}
