//! Moving one reaction over one run of events, in one transaction with the jobs that the events require.

use sqlx::{Connection, Executor, PgConnection, Row};

use super::Reaction;
use crate::store::{StoreError, jobs};

/// The maximum number of events of one run, unless one command has more.
const RUN_EVENTS: i64 = 1_000;

/// The settings of a connection that moves reactions. If its process hangs, the database releases what it
/// holds: the lock of a reaction, a transaction and, by ending the connection, the leadership.
const READY: &str = "\
    set lock_timeout = '5s'; \
    set statement_timeout = '10s'; \
    set idle_in_transaction_session_timeout = '5s'; \
    set idle_session_timeout = '5s'; \
    set enable_hashjoin = off; \
    set enable_mergejoin = off";
/// Jobs that are lost would never be done, so commits must wait for the disk, even if the database is
/// configured otherwise.
const SYNCHRONOUS: &str = "select set_config('synchronous_commit', 'on', false) \
     where current_setting('synchronous_commit') in ('off', 'local')";

/// How far a step has brought a reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The position up to which events have been handled.
    pub reached: i64,
    /// The head of the log.
    pub head: i64,
    /// How many jobs were inserted.
    pub jobs: u64,
}

/// Prepares a connection for moving reactions.
///
/// # Errors
/// [`StoreError`] if the database refuses or is unavailable.
pub async fn ready(connection: &mut PgConnection) -> Result<(), StoreError> {
    connection.execute(sqlx::raw_sql(READY)).await?;
    sqlx::query(SYNCHRONOUS).execute(connection).await?;
    Ok(())
}

/// Starts a new reaction at the head of the log: earlier events do not concern it. A reaction that is ahead of the
/// log, because the log has lost its end, also continues from the head.
///
/// # Errors
/// [`StoreError`] if the database refuses or is unavailable.
pub async fn register(connection: &mut PgConnection, reaction: Reaction) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    // Only one server inserts the row, together with its checkpoint.
    sqlx::query(
        "with head as (\
             select coalesce((select position from events order by position desc limit 1), 0) \
                 as position\
         ), known as (\
             insert into reactions (name, start_position) select $1, position from head \
             where not exists (select from reactions where name = $1) \
             on conflict (name) do nothing returning name, start_position\
         ) \
         insert into reaction_checkpoints (reaction, position, moved_at) \
         select name, start_position, clock_timestamp() from known",
    )
    .bind(reaction.name)
    .execute(&mut *transaction)
    .await?;
    lock(&mut transaction, reaction).await?;
    let (reached, head) = progress(&mut transaction, reaction).await?;
    if reached > head {
        tracing::warn!(reaction = reaction.name, reached, head, "a reaction is ahead of the log");
        sqlx::query("delete from reaction_checkpoints where reaction = $1")
            .bind(reaction.name)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("insert into reaction_checkpoints values ($1, $2, clock_timestamp())")
            .bind(reaction.name)
            .bind(head)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Moves a reaction over the next run of events, on a prepared connection. If another server has moved it
/// meanwhile, nothing is done.
///
/// # Errors
/// [`StoreError`] if the database refuses or is unavailable; then nothing was done or, if the connection was lost
/// during the commit, possibly everything.
pub async fn step(
    connection: &mut PgConnection,
    reaction: Reaction,
    sweeps: bool,
) -> Result<Step, StoreError> {
    let (from, head) = progress(connection, reaction).await?;
    if from >= head {
        return Ok(Step { reached: from, head, jobs: 0 });
    }
    let to = end_of_run(connection, from, head).await?;
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, reaction).await?;
    // A separate statement, which sees what was committed while waiting for the lock.
    let moved = sqlx::query(
        "insert into reaction_checkpoints (reaction, position, moved_at) \
         select $1, $3, clock_timestamp() \
         from (\
             select position from reaction_checkpoints where reaction = $1 \
             order by position desc limit 1\
         ) as reached where reached.position = $2",
    )
    .bind(reaction.name)
    .bind(from)
    .bind(to)
    .execute(&mut *transaction)
    .await?;
    if moved.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(Step { reached: from, head, jobs: 0 });
    }
    let jobs = sqlx::query(reaction.fold).bind(from).bind(to).execute(&mut *transaction).await?;
    let jobs = jobs.rows_affected();
    if sweeps {
        sqlx::query("delete from reaction_checkpoints where reaction = $1 and position < $2")
            .bind(reaction.name)
            .bind(from)
            .execute(&mut *transaction)
            .await?;
    }
    if jobs == 0 {
        // If this checkpoint is lost, the same events again require no jobs.
        sqlx::query("set local synchronous_commit = off").execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    if jobs > 0 {
        jobs::notify(connection).await?;
    }
    Ok(Step { reached: to, head, jobs })
}

/// The position of a reaction, and the head of the log.
async fn progress(
    connection: &mut PgConnection,
    reaction: Reaction,
) -> Result<(i64, i64), StoreError> {
    let row = sqlx::query(
        "select reached.position, \
             coalesce((select position from events order by position desc limit 1), 0) \
         from (\
             select position from reaction_checkpoints where reaction = $1 \
             order by position desc limit 1\
         ) as reached",
    )
    .bind(reaction.name)
    .fetch_one(connection)
    .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Locks a reaction until the end of the transaction, without writing a new row version.
async fn lock(transaction: &mut PgConnection, reaction: Reaction) -> Result<(), StoreError> {
    sqlx::query("select from reactions where name = $1 for no key update")
        .bind(reaction.name)
        .execute(transaction)
        .await?;
    Ok(())
}

/// The end of a run that begins after `from`: the last event of a command. `from` and `head` are also ends of
/// commands.
async fn end_of_run(
    connection: &mut PgConnection,
    from: i64,
    head: i64,
) -> Result<i64, StoreError> {
    let wanted = from.saturating_add(RUN_EVENTS);
    if wanted >= head {
        return Ok(head);
    }
    // Finds the last command that begins in the run.
    let row = sqlx::query(
        "select position, (metadata ->> 'command_events')::bigint from events \
         where position > $1 and position <= $2 and metadata ->> 'command_events' is not null \
         order by position desc limit 1",
    )
    .bind(from)
    .bind(wanted)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Err(StoreError::Nonsense(format!("no command begins after position {from}")));
    };
    let (first, events): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let last = first + events - 1;
    // A command that does not fit is left for the next run, unless it is the only one.
    Ok(if last <= wanted || first == from + 1 { last } else { first - 1 })
}
