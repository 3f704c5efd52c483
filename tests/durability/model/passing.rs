//! What happens by itself: hold periods and lots end, and what was not earned is made up for. A test cannot wait for days
//! and months, so it moves the times of what is to be over in the log and in the tables of what is due. Servers must have
//! nothing of that in memory.

use std::time::Duration;

use testing::Client;

use super::back::Source;
use super::lots::PAST_US;
use super::rules::Moment;
use super::run::Run;
use super::{compare, desk};

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

/// How often it is tried to make happen what is due. A server that has the state of before in memory finds nothing to do.
const ROUNDS: usize = 8;

/// Makes the hold periods of the sequence's programs end, which last a day, and waits for that.
pub async fn end_hold_periods(run: &mut Run, clients: &[Client; 2]) -> Result<(), String> {
    wait_for_reaction(run, "releases").await?;
    let due = holds(run).await.map_err(shown)?;
    let head = head(run).await.map_err(shown)?;
    if !due.is_empty() {
        move_holds(run).await.map_err(shown)?;
    }
    let before = run.world.clone();
    let none = "select not exists (select from releases where program_id = any($1))";
    for _ in 0..ROUNDS {
        if !due.is_empty() {
            forget(run, clients).await?;
            insert_holds(run, &due).await.map_err(shown)?;
            wait(run, "the end of hold periods", none).await?;
            run.see_the_log(&clients[0]).await?;
        }
        let ended = ended(run, head).await.map_err(shown)?;
        run.world = before.clone();
        run.world.pass_time(&ended);
        if compare::pending(&clients[0], run).await.is_ok() {
            break;
        }
    }
    Ok(())
}

/// Makes lots of the sequence's programs end, those that do so within so many months of 31 days, and waits for that.
pub async fn end_lots(run: &mut Run, clients: &[Client; 2], months: i64) -> Result<(), String> {
    wait_for_reaction(run, "expiries").await?;
    let until = run.world.now + months * 31 * DAY_US;
    let due = lots(run, until).await.map_err(shown)?;
    if !due.is_empty() {
        move_lots(run, until).await.map_err(shown)?;
    }
    run.world.end_lots(until);
    for _ in 0..ROUNDS {
        if due.is_empty() || compare::pending(&clients[0], run).await.is_ok() {
            break;
        }
        forget(run, clients).await?;
        insert_lots(run, &due).await.map_err(shown)?;
        let none = "select not exists (
            select from expirations where program_id = any($1)
                and expire_time_us <= extract(epoch from now()) * 1e6
        )";
        wait(run, "the end of lots", none).await?;
        run.see_the_log(&clients[0]).await?;
    }
    Ok(())
}

const DAY_US: Moment = 24 * 60 * 60 * 1_000_000;

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn shown(error: sqlx::Error) -> String {
    error.to_string()
}

/// Makes the servers, of which each keeps one stream in memory, forget what the test has changed.
async fn forget(run: &mut Run, clients: &[Client; 2]) -> Result<(), String> {
    for client in clients {
        run.see_the_log(client).await?;
    }
    sqlx::query("delete from snapshots").execute(&run.database).await.map_err(shown)?;
    Ok(())
}

async fn head(run: &Run) -> sqlx::Result<i64> {
    let head = sqlx::query_scalar("select coalesce(max(position), 0) from events");
    head.fetch_one(&run.database).await
}

/// A row of the table of hold periods: program, source, purchase and time.
type Hold = (String, String, String, Moment);

async fn holds(run: &Run) -> sqlx::Result<Vec<Hold>> {
    sqlx::query_as(
        "select program_id, source_user_id, purchase_id, release_time_us - 2 * 86400000000
         from releases where program_id = any($1)",
    )
    .bind(programs(run))
    .fetch_all(&run.database)
    .await
}

async fn insert_holds(run: &Run, due: &[Hold]) -> sqlx::Result<()> {
    for (program_id, source_user_id, purchase_id, release_time_us) in due {
        sqlx::query(
            "insert into releases
                 (program_id, source_user_id, purchase_id, release_time_us, due_time_us)
             values ($1, $2, $3, $4, $4)
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

/// A row of the table of lots: program, user and time.
type Lot = (String, String, Moment);

async fn lots(run: &Run, until: Moment) -> sqlx::Result<Vec<Lot>> {
    sqlx::query_as(
        "select program_id, user_id, expire_time_us - $3 from expirations
         where program_id = any($1) and expire_time_us <= $2 and not is_announcement",
    )
    .bind(programs(run))
    .bind(until)
    .bind(PAST_US)
    .fetch_all(&run.database)
    .await
}

async fn insert_lots(run: &Run, due: &[Lot]) -> sqlx::Result<()> {
    for (program_id, user_id, expire_time_us) in due {
        sqlx::query(
            "insert into expirations
                 (program_id, user_id, expire_time_us, is_announcement, due_time_us)
             values ($1, $2, $3, false, $3)
             on conflict do nothing",
        )
        .bind(program_id)
        .bind(user_id)
        .bind(expire_time_us)
        .execute(&run.database)
        .await?;
    }
    Ok(())
}

fn programs(run: &Run) -> Vec<String> {
    (0..run.world.programs.len()).map(|of| run.program(of)).collect()
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

/// The ids of the lines of payouts.
fn lines(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, program) in run.world.programs.iter().enumerate() {
        for (payout, of) in &program.payouts {
            let prefix = format!("{}/{}", run.program(number), desk::payout(*payout));
            lines.extend(of.lines.keys().map(|user| format!("{prefix}/{}", run.user(*user))));
        }
    }
    lines
}

/// Moves all times at which hold periods end to before now.
async fn move_holds(run: &Run) -> sqlx::Result<()> {
    let participants = participants(run);
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
    sqlx::query("delete from releases where program_id = any($1)")
        .bind(programs(run))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Moves the ends of lots until a moment to before now.
async fn move_lots(run: &Run, until: Moment) -> sqlx::Result<()> {
    let streams = [participants(run), lines(run)].concat();
    let mut transaction = run.database.begin().await?;
    let ends: Vec<(String, String)> = sqlx::query_as(
        "select distinct 'expire_time_us\": ' || found.lot[1],
             'expire_time_us\": ' || found.lot[1]::bigint - $4
         from events, regexp_matches(payload::text, '\"expire_time_us\": ([0-9]+)', 'g') as found (lot)
         where aggregate_type in ('Participant', 'PayoutLine') and aggregate_id = any($1)
             and found.lot[1]::bigint > $2 and found.lot[1]::bigint <= $3",
    )
    .bind(&streams)
    .bind(run.world.now)
    .bind(until)
    .bind(PAST_US)
    .fetch_all(&mut *transaction)
    .await?;
    for (end, moved) in ends {
        sqlx::query(
            "update events set payload = replace(payload::text, $2, $3)::jsonb
             where aggregate_type in ('Participant', 'PayoutLine') and aggregate_id = any($1)
                 and strpos(payload::text, $2) > 0",
        )
        .bind(&streams)
        .bind(end)
        .bind(moved)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query("delete from expirations where program_id = any($1) and expire_time_us <= $2")
        .bind(programs(run))
        .bind(until)
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
