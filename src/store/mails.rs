//! Mails: queueing them, what their senders note about them, and what users want to get.
//!
//! A mail is a job of the kind [`JOB_KIND`] or [`URGENT_JOB_KIND`] with a row of its own. Reactions insert both for
//! what happens in the log; for everything else there are [`queue`] and [`SideRow::Mail`], which puts a mail into the
//! append of a command.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, QueryBuilder, Row};

use super::jobs::{self, JobState};
use super::log::timestamp;
use super::{StoreError, functions};
use domain::{Mail, MailKind, SideRow, Timestamp, UserId};

/// The kind of the jobs that send mails which nobody waits for.
pub const JOB_KIND: &str = "mail";
/// The kind of the jobs that send mails which somebody waits for, so that they never queue behind the others.
pub const URGENT_JOB_KIND: &str = "urgent_mail";

/// Queues a mail, unless its occasion had one. It is sent once what `connection` is doing is committed.
///
/// # Errors
/// [`StoreError`] if it cannot be queued.
pub async fn queue(connection: &mut PgConnection, mail: &Mail) -> Result<(), StoreError> {
    let content = SideRow::Mail(mail.clone()).content();
    let statement = functions::statement("select {write_mails}(array[$1])");
    sqlx::query(&statement).bind(content).execute(&mut *connection).await?;
    jobs::notify(connection).await
}

/// The kinds of mail that a user does not want.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn unwanted(
    executor: impl PgExecutor<'_>,
    user_id: &UserId,
) -> Result<Vec<MailKind>, StoreError> {
    let kinds: Vec<String> =
        sqlx::query_scalar("select kind from mail_opt_outs where user_id = $1")
            .bind(user_id.as_str())
            .fetch_all(executor)
            .await?;
    // A later release may know more kinds.
    Ok(kinds.iter().filter_map(|kind| MailKind::parse(kind)).collect())
}

/// Sets for each of these kinds whether a user wants it. Other kinds stay as they are.
///
/// # Errors
/// [`StoreError`] if they cannot be written.
pub async fn set_wanted(
    connection: &mut PgConnection,
    user_id: &UserId,
    wanted: &[(MailKind, bool)],
) -> Result<(), StoreError> {
    let of = |is_wanted: bool| -> Vec<&str> {
        wanted.iter().filter(|(_, is)| *is == is_wanted).map(|(kind, _)| kind.as_str()).collect()
    };
    sqlx::query("delete from mail_opt_outs where user_id = $1 and kind = any($2)")
        .bind(user_id.as_str())
        .bind(of(true))
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "with owner as (select from profiles where user_id = $1 for share) \
         insert into mail_opt_outs (user_id, kind) select $1, kind from owner, unnest($2::text[]) as kind \
         on conflict do nothing",
    )
    .bind(user_id.as_str())
    .bind(of(false))
    .execute(connection)
    .await?;
    Ok(())
}

/// The key of the links by which mails are unsubscribed from, and of Message-IDs.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn secret(executor: impl PgExecutor<'_>) -> Result<Vec<u8>, StoreError> {
    let secret = sqlx::query_scalar("select value from secrets where name = 'mails'");
    Ok(secret.fetch_one(executor).await?)
}

/// What the sender of a mail needs besides the job.
#[derive(Clone)]
pub struct Addressed {
    /// The address that the mail goes to; `None` if it goes to the one in the profile.
    pub recipient: Option<String>,
    /// The name of somebody who is not a user yet.
    pub recipient_name: Option<String>,
    /// Whether an earlier attempt has sent the mail, or found a reason not to.
    pub is_over: bool,
}

/// What is known about a mail; `None` if it was erased.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn addressed(
    executor: impl PgExecutor<'_>,
    job_id: i64,
) -> Result<Option<Addressed>, StoreError> {
    let row = sqlx::query(
        "select recipient, recipient_name, outcome is not null as is_over from mails where job_id = $1",
    )
    .bind(job_id)
    .fetch_optional(executor)
    .await?;
    let addressed = |row: PgRow| {
        Ok(Addressed {
            recipient: row.try_get("recipient")?,
            recipient_name: row.try_get("recipient_name")?,
            is_over: row.try_get("is_over")?,
        })
    };
    row.map(addressed).transpose()
}

/// Notes that a mail was sent, and where to, and that the attempt has done the job: one statement and one commit. False
/// if the attempt is no longer the last one. The mail is noted as sent even then, so that a later attempt need not
/// send it again.
///
/// # Errors
/// [`StoreError`] if it cannot be noted.
pub async fn sent(
    executor: impl PgExecutor<'_>,
    job_id: i64,
    attempt: i32,
    recipient: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "with noted as (\
             update mails set outcome = 'sent', reason = null, recipient = $3, ended_at = clock_timestamp() \
             where job_id = $1\
         ) \
         update jobs set state = 'done', finished_at = clock_timestamp(), last_error = null \
         where id = $1 and attempts = $2 and state = 'running'",
    )
    .bind(job_id)
    .bind(attempt)
    .bind(recipient)
    .execute(executor)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that a mail is not sent, and why.
///
/// # Errors
/// [`StoreError`] if it cannot be noted.
pub async fn skipped(
    executor: impl PgExecutor<'_>,
    job_id: i64,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "update mails set outcome = 'skipped', reason = $2, ended_at = clock_timestamp() \
         where job_id = $1",
    )
    .bind(job_id)
    .bind(reason)
    .execute(executor)
    .await?;
    Ok(())
}

/// Deletes mails that were queued longer than `age` ago, with their jobs, at most `limit`. A mail that could not be
/// sent in that time is of no use any more. Returns how many.
///
/// # Errors
/// [`StoreError`] if they cannot be deleted.
pub async fn delete_old(pool: &PgPool, age: Duration, limit: i64) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "with gone as (\
             delete from mails where job_id = any (array(\
                 select job_id from mails \
                 where created_at < clock_timestamp() - make_interval(secs => $1) \
                 order by created_at limit $2)) \
             returning job_id\
         ), jobs_gone as (\
             delete from jobs using gone where jobs.id = gone.job_id\
         ) \
         select count(*) from gone",
    )
    .bind(age.as_secs_f64())
    .bind(limit)
    .fetch_one(pool)
    .await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default())
}

/// The state of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailState {
    /// Waits for its time, or for a sender.
    Queued,
    /// Is being sent.
    Sending,
    /// A mail server has taken it.
    Sent,
    /// There was a reason not to send it.
    Skipped,
    /// Could not be sent, and waits for an operator.
    Parked,
}

impl MailState {
    /// The name of the state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Skipped => "skipped",
            Self::Parked => "parked",
        }
    }
}

/// A mail, as operators see it.
#[derive(Clone)]
#[allow(missing_docs, reason = "the columns are explained in the migration")]
pub struct ListedMail {
    pub job_id: i64,
    /// May be a kind that only a later release knows.
    pub kind: String,
    pub state: MailState,
    pub user_id: Option<String>,
    pub recipient: Option<String>,
    pub reason: Option<String>,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    /// When it is tried next, while it is queued or being sent.
    pub run_after: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// Which mails to list.
#[derive(Clone, Debug, Default)]
pub struct MailFilter {
    /// Only mails in this state.
    pub state: Option<MailState>,
    /// Only mails of this kind.
    pub kind: Option<MailKind>,
    /// Only mails to this user.
    pub user_id: Option<UserId>,
}

const LISTED: &str = "mails.job_id, mails.kind, mails.user_id, mails.recipient, mails.reason, mails.outcome, \
     mails.created_at, mails.ended_at, jobs.state, jobs.attempts, jobs.last_error, jobs.run_after";

/// Mails with ids below a given one, newest first.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn list(
    pool: &PgPool,
    filter: &MailFilter,
    below: i64,
    limit: i64,
) -> Result<Vec<ListedMail>, StoreError> {
    // Each combination of filters is a separate statement, so that each can use the index that it needs. The job of
    // a mail that was sent may be deleted.
    let mut query = QueryBuilder::new(format!(
        "select {LISTED} from mails left join jobs on jobs.id = mails.job_id where mails.job_id < "
    ));
    query.push_bind(below);
    if let Some(state) = filter.state {
        let of_job = match state {
            MailState::Queued => Some(JobState::Queued),
            MailState::Sending => Some(JobState::Running),
            MailState::Parked => Some(JobState::Parked),
            MailState::Sent | MailState::Skipped => None,
        };
        match of_job {
            Some(of_job) => query
                .push(" and mails.outcome is null and jobs.id < ")
                .push_bind(below)
                .push(" and jobs.state = ")
                .push_bind(of_job.as_str()),
            None => query.push(" and mails.outcome = ").push_bind(state.as_str()),
        };
    }
    if let Some(kind) = filter.kind {
        query.push(" and mails.kind = ").push_bind(kind.as_str());
    }
    if let Some(user_id) = &filter.user_id {
        query.push(" and mails.user_id = ").push_bind(user_id.as_str());
    }
    query.push(" order by mails.job_id desc limit ").push_bind(limit);
    query.build().fetch_all(pool).await?.iter().map(listed).collect()
}

/// The mail with this id; `None` if there is none, or it was deleted.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn find(pool: &PgPool, job_id: i64) -> Result<Option<ListedMail>, StoreError> {
    let query = format!(
        "select {LISTED} from mails left join jobs on jobs.id = mails.job_id where mails.job_id = $1"
    );
    let row = sqlx::query(&query).bind(job_id).fetch_optional(pool).await?;
    row.as_ref().map(listed).transpose()
}

/// After how many attempts a mail was parked or skipped; `None` if it was neither.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn attempts_if_ended(pool: &PgPool, job_id: i64) -> Result<Option<i32>, StoreError> {
    // The conditions are those of the function that queues the job again.
    let attempts = sqlx::query_scalar(
        "select jobs.attempts from jobs join mails on mails.job_id = jobs.id \
         where jobs.id = $1 \
             and (jobs.state = 'parked' or jobs.state = 'done' and mails.outcome = 'skipped')",
    );
    Ok(attempts.bind(job_id).fetch_optional(pool).await?)
}

fn listed(row: &PgRow) -> Result<ListedMail, StoreError> {
    let outcome: Option<String> = row.try_get("outcome")?;
    let of_job: Option<String> = row.try_get("state")?;
    let state = match (outcome.as_deref(), of_job.as_deref()) {
        (Some("sent"), _) => MailState::Sent,
        (Some(_), _) => MailState::Skipped,
        (None, Some("queued")) => MailState::Queued,
        (None, Some("running")) => MailState::Sending,
        // A job that is done without an outcome cannot be: the outcome is noted first.
        (None, _) => MailState::Parked,
    };
    let is_open = matches!(state, MailState::Queued | MailState::Sending);
    let time = |name| -> Result<Option<Timestamp>, StoreError> {
        let time: Option<_> = row.try_get(name)?;
        Ok(time.map(timestamp))
    };
    Ok(ListedMail {
        job_id: row.try_get("job_id")?,
        kind: row.try_get("kind")?,
        state,
        user_id: row.try_get("user_id")?,
        recipient: row.try_get("recipient")?,
        reason: row.try_get("reason")?,
        attempts: row.try_get::<Option<i32>, _>("attempts")?.unwrap_or_default(),
        last_error: row.try_get("last_error")?,
        created_at: timestamp(row.try_get("created_at")?),
        run_after: time("run_after")?.filter(|_| is_open),
        ended_at: time("ended_at")?,
    })
}
