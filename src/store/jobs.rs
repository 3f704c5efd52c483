//! The table of jobs: inserting jobs, taking those that are due, and recording their outcome.
//!
//! Only the database's clock is used, and only the last attempt can finish a job: a worker that was presumed
//! dead and returns finds that a later attempt has begun.

use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, PgPool, QueryBuilder, Row};

use super::StoreError;
use super::log::timestamp;
use domain::Timestamp;

/// The maximum length of a stored error, in characters.
const MAX_ERROR_CHARS: usize = 1_000;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// The job waits for its time, or for a worker.
    Queued,
    /// A worker is doing the job.
    Running,
    /// The job is done.
    Done,
    /// The job has failed too often, and waits for an operator.
    Parked,
}

impl JobState {
    /// The name used in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Parked => "parked",
        }
    }

    fn parse(name: &str) -> Result<Self, StoreError> {
        [Self::Queued, Self::Running, Self::Done, Self::Parked]
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| StoreError::Nonsense(format!("state of a job '{name}'")))
    }
}

/// A job to be inserted.
#[derive(Clone, Debug)]
pub struct NewJob<'a> {
    /// The kind of the job.
    pub kind: &'a str,
    /// Jobs with the same kind and key are the same job.
    pub dedupe_key: &'a str,
    /// What the job is to be done to. Never personal data.
    pub payload: &'a Value,
}

/// Inserts a job, unless it exists. Returns whether it was inserted.
///
/// # Errors
/// [`StoreError`] if it cannot be inserted.
pub async fn insert(executor: impl PgExecutor<'_>, job: NewJob<'_>) -> Result<bool, StoreError> {
    // Looked up first, because a conflict uses up an id.
    let inserted = sqlx::query(
        "insert into jobs (kind, dedupe_key, payload) \
         select $1, $2, $3 \
         where not exists (select from jobs where kind = $1 and dedupe_key = $2) \
         on conflict (kind, dedupe_key) do nothing",
    )
    .bind(job.kind)
    .bind(job.dedupe_key)
    .bind(job.payload)
    .execute(executor)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Inserts a job that is to be done once a day, unless today's (in UTC) exists.
///
/// # Errors
/// [`StoreError`] if it cannot be inserted.
pub async fn insert_daily(executor: impl PgExecutor<'_>, kind: &str) -> Result<(), StoreError> {
    sqlx::query(
        "insert into jobs (kind, dedupe_key, payload) \
         select $1, today.day, '{}' \
         from (select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD')) as today (day) \
         where not exists (select from jobs where kind = $1 and dedupe_key = today.day) \
         on conflict (kind, dedupe_key) do nothing",
    )
    .bind(kind)
    .execute(executor)
    .await?;
    Ok(())
}

/// One kind of job that a worker can do.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// The kind.
    pub kind: &'static str,
    /// How long after its start a job is taken again.
    pub lease: Duration,
    /// How many attempts are made before the job is parked.
    pub max_attempts: i32,
}

/// A job that was taken, or that is parked instead because the worker of its last attempt died.
#[derive(Clone, Debug)]
pub struct TakenJob {
    /// Its id. Stable over all attempts.
    pub id: i64,
    /// The kind of the job.
    pub kind: String,
    /// What the job is to be done to.
    pub payload: Value,
    /// The number of this attempt.
    pub attempt: i32,
    /// The number of this attempt since an operator last retried the job.
    pub own_attempt: i32,
}

/// Begins jobs that are due, at most `most`, in the order of the given kinds. Jobs that other workers are just
/// beginning are skipped. Jobs whose workers died too often are parked instead. The commit does not wait for the disk:
/// a job whose beginning is lost in a crash of the database is begun again, with the same number, and can still be
/// completed once only.
///
/// # Errors
/// [`StoreError`] if the database fails.
pub async fn take(
    pool: &PgPool,
    kinds: &[Capability],
    most: i64,
) -> Result<Vec<TakenJob>, StoreError> {
    let names: Vec<&str> = kinds.iter().map(|of| of.kind).collect();
    let leases: Vec<f64> = kinds.iter().map(|of| of.lease.as_secs_f64()).collect();
    let limits: Vec<i32> = kinds.iter().map(|of| of.max_attempts).collect();
    // The time is that of the statement, which an index can be searched by, so that jobs that wait for a later time
    // are not looked at. Ids are an array, which is always looked up by the primary key.
    let rows = sqlx::query(
        "with known as materialized (\
             select * from unnest($1::text[], $2::float8[], $3::integer[]) \
                 as known (kind, lease_s, max_attempts)\
         ), due as materialized (\
             select job.id from known \
             cross join lateral (\
                 select jobs.id from jobs \
                 where jobs.kind = known.kind and jobs.state in ('queued', 'running') \
                     and jobs.run_after <= statement_timestamp() \
                 order by jobs.run_after limit $4 for update skip locked\
             ) as job \
             cross join (select set_config('synchronous_commit', 'off', true)) as for_this_commit \
             limit $4\
         ) \
         update jobs set \
             state = case when attempts - forgiven_attempts < known.max_attempts \
                 then 'running' else 'parked' end, \
             attempts = attempts + \
                 case when attempts - forgiven_attempts < known.max_attempts then 1 else 0 end, \
             last_error = case when attempts - forgiven_attempts < known.max_attempts \
                 then last_error else 'its worker died, or took too long, in the last attempt' end, \
             run_after = clock_timestamp() + make_interval(secs => known.lease_s) \
         from known where jobs.id = any (array(select id from due)) and jobs.kind = known.kind \
         returning jobs.id, jobs.kind, jobs.payload, jobs.attempts, \
             jobs.attempts - jobs.forgiven_attempts as own_attempt, jobs.state",
    )
    .bind(names)
    .bind(leases)
    .bind(limits)
    .bind(most)
    .fetch_all(pool)
    .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in rows {
        let job = TakenJob {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            payload: row.try_get("payload")?,
            attempt: row.try_get("attempts")?,
            own_attempt: row.try_get("own_attempt")?,
        };
        if JobState::parse(row.try_get("state")?)? == JobState::Running {
            taken.push(job);
        } else {
            tracing::error!(id = job.id, kind = job.kind, "a job is parked: its workers died");
        }
    }
    Ok(taken)
}

/// Records that an attempt has done the job. False if the attempt is no longer the last one; what it wrote in
/// the same transaction must then not be committed.
///
/// # Errors
/// [`StoreError`] if it cannot be recorded.
pub async fn complete(
    executor: impl PgExecutor<'_>,
    id: i64,
    attempt: i32,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "update jobs set state = 'done', finished_at = clock_timestamp(), last_error = null \
         where id = $1 and attempts = $2 and state = 'running'",
    )
    .bind(id)
    .bind(attempt)
    .execute(executor)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Records that an attempt has failed: the job is tried again after the given pause, or parked if there is
/// none. False if the attempt is no longer the last one.
///
/// # Errors
/// [`StoreError`] if it cannot be recorded.
pub async fn fail(
    executor: impl PgExecutor<'_>,
    id: i64,
    attempt: i32,
    error: &str,
    again_after: Option<Duration>,
) -> Result<bool, StoreError> {
    let error: String = error.chars().filter(|char| *char != '\0').take(MAX_ERROR_CHARS).collect();
    let failed = sqlx::query(
        "update jobs set \
             state = case when $4::float8 is null then 'parked' else 'queued' end, \
             run_after = clock_timestamp() + make_interval(secs => coalesce($4, 0)), \
             last_error = $3 \
         where id = $1 and attempts = $2 and state = 'running'",
    )
    .bind(id)
    .bind(attempt)
    .bind(error)
    .bind(again_after.map(|pause| pause.as_secs_f64()))
    .execute(executor)
    .await?;
    Ok(failed.rows_affected() > 0)
}

/// A job, as stored in the table.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the columns are explained in the migration")]
pub struct Job {
    pub id: i64,
    pub kind: String,
    pub dedupe_key: String,
    /// As JSON.
    pub payload: String,
    pub state: JobState,
    pub attempts: i32,
    pub run_after: Timestamp,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, kind, dedupe_key, payload::text as payload, state, attempts, run_after, \
                       last_error, created_at, finished_at";

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs of this kind.
    pub kind: Option<String>,
}

/// Jobs with ids below a given one, newest first.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn list(
    pool: &PgPool,
    filter: &JobFilter,
    below: i64,
    limit: i64,
) -> Result<Vec<Job>, StoreError> {
    // Each combination of filters is a separate statement, so that each can use the index that it needs.
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from jobs where id < "));
    query.push_bind(below);
    if let Some(state) = filter.state {
        query.push(" and state = ").push_bind(state.as_str());
    }
    if let Some(kind) = &filter.kind {
        query.push(" and kind = ").push_bind(kind.as_str());
    }
    query.push(" order by id desc limit ").push_bind(limit);
    query.build().fetch_all(pool).await?.iter().map(job).collect()
}

/// The job with this id; `None` if there is none.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn find(pool: &PgPool, id: i64) -> Result<Option<Job>, StoreError> {
    let query = format!("select {COLUMNS} from jobs where id = $1");
    let row = sqlx::query(&query).bind(id).fetch_optional(pool).await?;
    row.as_ref().map(job).transpose()
}

/// How many jobs in the table wait. Each number ends at 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// For their time or for a worker.
    pub waiting: i64,
    /// For an operator.
    pub parked: i64,
    /// As `waiting`, those of kinds that are not among the given ones.
    pub unknown_kind: i64,
}

/// How far waiting jobs are counted: exact numbers of many are worth no scan of them all.
const MAX_COUNTED: i64 = 10_000;
/// How many jobs that are under way are looked at besides.
const MAX_UNDER_WAY: i64 = 1_000;
/// How many kinds of open jobs are looked at when jobs of unknown kinds are counted.
const MAX_KINDS: i64 = 1_000;

/// Counts jobs that wait, by a part of an index. `kinds` are those that are known.
///
/// # Errors
/// [`StoreError`] if they cannot be counted.
pub async fn count(executor: impl PgExecutor<'_>, kinds: &[&str]) -> Result<Counts, StoreError> {
    // Open jobs are skipped kind by kind, so that many jobs of known kinds do not slow the search for unknown ones, and
    // read in the order of an index that has open jobs only, however many are done.
    let row = sqlx::query(
        "with recursive kinds (kind) as (\
             (select kind from jobs where state in ('queued', 'running') order by kind limit 1) \
             union all \
             select (select jobs.kind from jobs \
                 where state in ('queued', 'running') and jobs.kind > kinds.kind \
                 order by jobs.kind limit 1) \
             from kinds where kinds.kind is not null\
         ) \
         select (select count(*) from (\
                 select from (select kind from kinds limit $3) as open \
                 cross join lateral (\
                     select state from jobs \
                     where jobs.kind = open.kind and state in ('queued', 'running') \
                     order by run_after limit $2 + $4\
                 ) as job \
                 where job.state = 'queued' limit $2) as waiting), \
             (select count(*) from (\
                 select from jobs where state = 'parked' limit $2) as parked), \
             (select count(*) from (\
                 select from (select kind from kinds limit $3) as open \
                 cross join lateral (\
                     select state from jobs \
                     where jobs.kind = open.kind and state in ('queued', 'running') \
                     order by run_after limit $2 + $4\
                 ) as job \
                 where job.state = 'queued' and open.kind <> all($1) limit $2) as unknown)",
    )
    .bind(kinds)
    .bind(MAX_COUNTED)
    .bind(MAX_KINDS)
    .bind(MAX_UNDER_WAY)
    .fetch_one(executor)
    .await?;
    Ok(Counts { waiting: row.try_get(0)?, parked: row.try_get(1)?, unknown_kind: row.try_get(2)? })
}

/// Deletes jobs that were done longer than `age` ago, at most `limit`. Returns how many.
///
/// # Errors
/// [`StoreError`] if they cannot be deleted.
pub async fn delete_done(pool: &PgPool, age: Duration, limit: i64) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "delete from jobs where id = any (array(\
             select id from jobs \
             where state = 'done' and finished_at < clock_timestamp() - make_interval(secs => $1) \
             order by finished_at limit $2))",
    )
    .bind(age.as_secs_f64())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}

/// Wakes the workers of all servers.
///
/// # Errors
/// [`StoreError`] if the database fails.
pub async fn notify(executor: impl PgExecutor<'_>) -> Result<(), StoreError> {
    sqlx::query("select pg_notify('tributary_jobs_' || current_schema(), '')")
        .execute(executor)
        .await?;
    Ok(())
}

fn job(row: &PgRow) -> Result<Job, StoreError> {
    let finished_at: Option<_> = row.try_get("finished_at")?;
    Ok(Job {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        dedupe_key: row.try_get("dedupe_key")?,
        payload: row.try_get("payload")?,
        state: JobState::parse(row.try_get("state")?)?,
        attempts: row.try_get("attempts")?,
        run_after: timestamp(row.try_get("run_after")?),
        last_error: row.try_get("last_error")?,
        created_at: timestamp(row.try_get("created_at")?),
        finished_at: finished_at.map(timestamp),
    })
}
