//! What happens by itself: hold periods end, and what was not earned is made up for.

use std::time::Duration;

use testing::Client;

use super::compare;
use super::run::Run;

/// How long a test waits for that.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until a query of the database says yes.
async fn wait(run: &Run, what: &str, query: &str) -> Result<(), String> {
    let programs = programs(run);
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        let asked = sqlx::query_scalar(query).bind(&programs).fetch_one(&run.database).await;
        if asked.map_err(|error| error.to_string())? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Err(format!("{what} does not come"))
}

/// Waits until a reaction has seen everything that is in the log by now.
async fn wait_for_reaction(run: &Run, reaction: &str) -> Result<(), String> {
    let head = sqlx::query_scalar("select coalesce(max(position), 0) from events");
    let head: i64 = head.fetch_one(&run.database).await.map_err(|error| error.to_string())?;
    let query = format!(
        "select coalesce(max(position), 0) >= {head} and $1::text[] is not null
         from reaction_checkpoints where reaction = '{reaction}'"
    );
    wait(run, reaction, &query).await
}

/// How often the ends of hold periods are tried.
const ROUNDS: usize = 8;

/// Makes the hold periods of the sequence's programs end, which last a day, and waits for that. A server that has a
/// stream in memory does not see that the test has changed its times, and finds nothing to end. So that is tried until
/// all are ended.
pub async fn end_hold_periods(run: &mut Run, client: &Client) -> Result<(), String> {
    wait_for_reaction(run, "releases").await?;
    let over = rows(run).await.map_err(|error| error.to_string())?;
    if over.is_empty() {
        return Ok(());
    }
    pass(run).await.map_err(|error| error.to_string())?;
    for _ in 0..ROUNDS {
        let none = "select not exists (select from releases where program_id = any($1))";
        wait(run, "the end of hold periods", none).await?;
        run.see_the_log(client).await?;
        if compare::pending(client, run).await.is_ok() {
            break;
        }
        insert(run, &over).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A row of the table of hold periods: program, source, purchase and time.
type Row = (String, String, String, i64);

async fn rows(run: &Run) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as(
        "select program_id, source_user_id, purchase_id, release_time_us from releases
         where program_id = any($1)",
    )
    .bind(programs(run))
    .fetch_all(&run.database)
    .await
}

async fn insert(run: &Run, rows: &[Row]) -> sqlx::Result<()> {
    for (program_id, source_user_id, purchase_id, release_time_us) in rows {
        sqlx::query(
            "insert into releases
                 (program_id, source_user_id, purchase_id, release_time_us, due_time_us)
             values ($1, $2, $3, $4 - 2 * 86400000000, $4 - 2 * 86400000000)
             on conflict do nothing",
        )
        .bind(program_id)
        .bind(source_user_id)
        .bind(purchase_id)
        .bind(release_time_us)
        .execute(&run.database)
        .await?;
    }
    Ok(())
}

fn programs(run: &Run) -> Vec<String> {
    (0..run.world.programs.len()).map(|of| run.program(of)).collect()
}

/// Moves all times at which hold periods end to before now.
async fn pass(run: &Run) -> sqlx::Result<()> {
    let mut participants = Vec::new();
    for (number, program) in run.world.programs.iter().enumerate() {
        let program_id = run.program(number);
        let members = program.members.iter().map(|member| run.user(member.user));
        participants.extend(members.map(|user_id| format!("{program_id}/{user_id}")));
    }
    let mut transaction = run.database.begin().await?;
    sqlx::query(
        "update events set payload = jsonb_set(payload, '{release_time_us}',
             to_jsonb((payload ->> 'release_time_us')::bigint - 2 * 86400000000))
         where aggregate_type = 'Participant' and aggregate_id = any($1)
             and event_type = 'RewardGranted'
             and (payload ->> 'release_time_us')::bigint > extract(epoch from now()) * 1e6",
    )
    .bind(&participants)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "update events set payload = jsonb_set(payload, '{rewards}', (
             select jsonb_agg(case
                 when (reward ->> 'release_time_us')::bigint > extract(epoch from now()) * 1e6
                 then jsonb_set(reward, '{release_time_us}',
                     to_jsonb((reward ->> 'release_time_us')::bigint - 2 * 86400000000))
                 else reward
             end order by number)
             from jsonb_array_elements(payload -> 'rewards') with ordinality as of (reward, number)
         ))
         where aggregate_type = 'Participant' and aggregate_id = any($1)
             and event_type in ('ReferralConverted', 'ReferralRewardsChanged')
             and jsonb_array_length(payload -> 'rewards') > 0",
    )
    .bind(&participants)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "update releases set release_time_us = release_time_us - 2 * 86400000000,
             due_time_us = due_time_us - 2 * 86400000000
         where program_id = any($1)",
    )
    .bind(programs(run))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// Waits until the jobs are done that follow decisions.
pub async fn jobs_are_done(run: &Run) -> Result<(), String> {
    wait_for_reaction(run, "make_up").await?;
    wait_for_reaction(run, "settle_line").await?;
    let none = "select not exists (
        select from jobs where kind in ('make_up', 'settle_line') and state in ('queued', 'running')
            and payload ->> 'program_id' = any($1)
    )";
    wait(run, "the end of jobs", none).await
}
