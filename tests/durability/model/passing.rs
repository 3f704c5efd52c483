//! What happens by itself: hold periods end, and what was not earned is made up for.

use std::time::Duration;

use super::run::Run;

/// How long a test waits for that.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until a query of the database says yes.
async fn wait(run: &Run, what: &str, query: &str) -> Result<(), String> {
    let programs: Vec<_> = (0..run.world.programs.len()).map(|of| run.program(of)).collect();
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

/// Makes the hold periods of the sequence's programs end, which last a day, and waits for that.
pub async fn end_hold_periods(run: &Run) -> Result<(), String> {
    wait_for_reaction(run, "releases").await?;
    let mut participants = Vec::new();
    for program in 0..run.world.programs.len() {
        let members = run.world.programs[program].members.iter();
        participants.extend(
            members.map(|member| format!("{}/{}", run.program(program), run.user(member.user))),
        );
    }
    let pass = async {
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
        let programs: Vec<_> = (0..run.world.programs.len()).map(|of| run.program(of)).collect();
        sqlx::query(
            "update releases set release_time_us = release_time_us - 2 * 86400000000,
                 due_time_us = due_time_us - 2 * 86400000000
             where program_id = any($1)",
        )
        .bind(&programs)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    };
    pass.await.map_err(|error: sqlx::Error| error.to_string())?;
    let none = "select not exists (select from releases where program_id = any($1))";
    wait(run, "the end of hold periods", none).await
}

/// Waits until everything was made up for that can be after a release.
pub async fn make_up(run: &Run) -> Result<(), String> {
    wait_for_reaction(run, "make_up").await?;
    let none = "select not exists (
        select from jobs where kind = 'make_up' and state in ('queued', 'running')
            and payload ->> 'program_id' = any($1)
    )";
    wait(run, "making up", none).await
}
