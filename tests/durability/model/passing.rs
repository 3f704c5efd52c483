//! What happens by itself: hold periods and lots end, and what was not earned is made up for. A test cannot wait for
//! days and months, so the clock of the log is put forward, by which everything is dated: that of the database's
//! function which appends. All sequences of a place therefore live through the same time, and nobody does anything
//! while it jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use sqlx::{Executor, PgPool};
use testing::Client;

use super::back::Source;
use super::calls;
use super::rules::Moment;
use super::run::Run;

/// How long a test waits for what happens by itself.
const PATIENCE: Duration = Duration::from_mins(2);

/// By how much time passes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// All hold periods end, which last a day.
    Days,
    /// To the middle of the month so many months later. Lots end that do so until then, and hold periods.
    Months(i32),
}

/// The moment so many months after another one, in the middle of the month in any time zone.
const MIDDLE: &str =
    "date_trunc('month', now) + make_interval(months => $1) + interval '9 days 12 hours'";

/// What puts the clock forward by which the log is dated, and no other. It is another function of the same name, which
/// the function that appends finds first.
const INSTALL: &str = r"
    create schema passing;
    create table passing.ahead (us bigint not null);
    insert into passing.ahead values (0);
    create function passing.clock_timestamp() returns timestamptz language sql volatile
    as $$
        select pg_catalog.clock_timestamp() + us * interval '1 microsecond' from passing.ahead
    $$;
    do $$
    declare
        append oid;
    begin
        for append in
            select p.oid from pg_proc as p
            where p.proname like 'append!_%' escape '!' and p.pronamespace = 'public'::regnamespace
        loop
            execute format(
                'alter function %s set search_path = public, passing, pg_catalog',
                append::regprocedure
            );
        end loop;
    end
    $$;
";

/// The clock of a log.
#[derive(Clone)]
pub struct Clock {
    database: PgPool,
    ahead_us: Arc<AtomicI64>,
}

impl Clock {
    /// Takes over the clock of a database, whose functions are there.
    pub async fn of(database: &PgPool) -> Self {
        database.execute(sqlx::raw_sql(INSTALL)).await.unwrap();
        Self { database: database.clone(), ahead_us: Arc::default() }
    }

    /// The log's time.
    pub fn now(&self) -> Moment {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(now.as_micros()).unwrap() + self.ahead_us.load(Ordering::Relaxed)
    }

    /// Makes sure that there are days left of the month.
    pub async fn begin_month(&self, clients: &[Client; 2]) -> Result<(), String> {
        let day =
            "select extract(day from clock_timestamp() + $1 * interval '1 microsecond')::integer";
        let ahead = self.ahead_us.load(Ordering::Relaxed);
        let day: i32 =
            sqlx::query_scalar(day).bind(ahead).fetch_one(&self.database).await.map_err(shown)?;
        if (10..15).contains(&day) {
            return Ok(());
        }
        self.jump(clients, Jump::Months(1)).await.map(drop)
    }

    /// Lets time pass, and waits until all has happened that is due then. Returns the end of the log before that.
    pub async fn jump(&self, clients: &[Client; 2], jump: Jump) -> Result<i64, String> {
        wait_for_reaction(&self.database, "releases").await?;
        wait_for_reaction(&self.database, "expiries").await?;
        let head = head(&self.database).await.map_err(shown)?;
        let (until, months) = match jump {
            Jump::Days => ("now + interval '2 days'", 0),
            Jump::Months(months) => (MIDDLE, months),
        };
        let put_forward = format!(
            "update passing.ahead
             set us = us + (extract(epoch from {until} - now) * 1000000)::bigint + 0 * $1
             from (
                 select (clock_timestamp() + us * interval '1 microsecond') as now from passing.ahead
             ) as present
             returning us"
        );
        let ahead = sqlx::query_scalar(&put_forward).bind(months).fetch_one(&self.database);
        self.ahead_us.store(ahead.await.map_err(shown)?, Ordering::Relaxed);
        for client in clients {
            // A server hears the time when it appends.
            calls::touch(client, "clock").await?;
        }
        let none = format!(
            "select not exists (select from releases where due_time_us <= {now})
                 and not exists (
                     select from expirations where due_time_us <= {now} and not is_announcement
                 )",
            now = self.now(),
        );
        wait(&self.database, "what is due", &none).await?;
        Ok(head)
    }
}

/// Waits until a query of the database says yes.
async fn wait(database: &PgPool, what: &str, query: &str) -> Result<(), String> {
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        if sqlx::query_scalar(query).fetch_one(database).await.map_err(shown)? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Err(format!("{what} does not come"))
}

/// Waits until a reaction has seen everything that is in the log by now.
async fn wait_for_reaction(database: &PgPool, reaction: &str) -> Result<(), String> {
    let head = head(database).await.map_err(shown)?;
    let query = format!(
        "select coalesce(max(position), 0) >= {head}
         from reaction_checkpoints where reaction = '{reaction}'"
    );
    wait(database, reaction, &query).await
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn shown(error: sqlx::Error) -> String {
    error.to_string()
}

async fn head(database: &PgPool) -> sqlx::Result<i64> {
    let head = sqlx::query_scalar("select coalesce(max(position), 0) from events");
    head.fetch_one(database).await
}

/// Lets time pass in the model, which has passed in the log since this end of it.
pub async fn time_has_passed(run: &mut Run, head: i64) -> Result<(), String> {
    let ended = ended(run, head).await.map_err(shown)?;
    run.world.now = run.clock.now();
    run.world.era += 1;
    run.world.pass_time(&ended);
    run.world.end_lots();
    Ok(())
}

/// What the hold periods were of that have ended since a position, in the order of the log.
async fn ended(run: &Run, head: i64) -> sqlx::Result<Vec<Source>> {
    let purchases: Vec<_> = run.world.purchases.keys().map(|id| run.purchase(*id)).collect();
    let ended: Vec<(String, String)> = sqlx::query_as(
        "select aggregate_id, coalesce(payload ->> 'program_id', '')
         from events where position > $1 and (
             aggregate_type = 'Purchase' and event_type = 'HoldPeriodEnded' and aggregate_id = any($2)
             or aggregate_type = 'Participant' and event_type = 'ReferralRewardsChanged'
                 and aggregate_id = any($3)
         )
         order by position",
    )
    .bind(head)
    .bind(&purchases)
    .bind(participants(run))
    .fetch_all(&run.database)
    .await?;
    let source = |(id, program): &(String, String)| match id.split_once('/') {
        Some((program, user)) => Source::Referral(Run::number(program), Run::number(user)),
        None => Source::Purchase(Run::number(program), Run::number(id)),
    };
    Ok(ended.iter().map(source).collect())
}

/// The ids of the streams of all members.
fn participants(run: &Run) -> Vec<String> {
    let mut participants = Vec::new();
    for (number, program) in run.world.programs.iter().enumerate() {
        let program_id = run.program(number);
        let members = program.members.iter().map(|member| run.user(member.user));
        participants.extend(members.map(|user_id| format!("{program_id}/{user_id}")));
    }
    participants
}

/// Waits until the jobs are done that follow decisions.
pub async fn jobs_are_done(run: &Run) -> Result<(), String> {
    wait_for_reaction(&run.database, "make_up").await?;
    wait_for_reaction(&run.database, "settle_line").await?;
    let programs = (0..run.world.programs.len()).map(|of| format!("'{}'", run.program(of)));
    let none = format!(
        "select not exists (
             select from jobs
             where kind in ('make_up', 'settle_line') and state in ('queued', 'running')
                 and payload ->> 'program_id' in ({})
         )",
        programs.collect::<Vec<_>>().join(", ")
    );
    wait(&run.database, "the end of jobs", &none).await
}
