//! Several servers on one database, calls that start together, and invariants that must hold afterwards.

use std::sync::Arc;

use tokio::process::Command;
use tokio::sync::Barrier;

use super::{ADMIN_KEY, Client, Server, ServerOptions, TestDatabase, serve};

/// Connections that tests have to each server of a pair.
const CONNECTIONS: usize = 3;

/// Two servers on one database, and several connections to each.
pub struct Pair {
    pub first: Server,
    pub second: Server,
    clients: Vec<Client>,
}

impl Pair {
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, &ServerOptions::default()).await
    }

    pub async fn start_with(database: &TestDatabase, options: &ServerOptions) -> Self {
        let command = || serve(&database.url, options);
        Self::start_commands([command(), command()]).await
    }

    /// Starts two servers by what [`serve`] returned.
    pub async fn start_commands([first, second]: [Command; 2]) -> Self {
        let start = Server::start_command;
        let (first, second) = tokio::join!(start(first), start(second));
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(first.separate_client(Some(ADMIN_KEY)).await);
            clients.push(second.separate_client(Some(ADMIN_KEY)).await);
        }
        Self { first, second, clients }
    }

    /// A client by number: even ones call the first server, odd ones the second, each pair of
    /// numbers over the next connection.
    pub fn client(&self, number: usize) -> Client {
        self.clients[number % self.clients.len()].clone()
    }

    /// Stops both servers.
    pub async fn stop(self) {
        drop(self.clients);
        tokio::join!(self.first.stop(), self.second.stop());
    }
}

/// Starts all calls at the same moment, each in its own task, and returns their answers in the same order.
pub async fn at_once<Call, Answer>(calls: impl IntoIterator<Item = Call>) -> Vec<Answer>
where
    Call: Future<Output = Answer> + Send + 'static,
    Answer: Send + 'static,
{
    let calls: Vec<_> = calls.into_iter().collect();
    let start = Arc::new(Barrier::new(calls.len()));
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let start = start.clone();
            tokio::spawn(async move {
                start.wait().await;
                call.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.expect("a call ends"));
    }
    answers
}

/// The rewards that a participant was granted, according to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grants {
    /// The number of rewards.
    pub count: i64,
    /// Their sum, in minor units.
    pub amount: i64,
}

/// The rewards of a participant in the log, at one level.
pub async fn granted(
    database: &TestDatabase,
    program_id: &str,
    user_id: &str,
    level: i32,
) -> Grants {
    let (count, amount) = sqlx::query_as(
        "select count(*), coalesce(sum((payload -> 'posting' ->> 'amount')::bigint), 0)::bigint
         from events
         where event_type = 'RewardGranted' and aggregate_type = 'Participant'
             and aggregate_id = $1 and (payload ->> 'level')::integer = $2",
    )
    .bind(format!("{program_id}/{user_id}"))
    .bind(level)
    .fetch_one(&database.pool)
    .await
    .unwrap();
    Grants { count, amount }
}

/// The number of events of a type in a stream.
pub async fn events_in(database: &TestDatabase, stream_id: &str, event_type: &str) -> i64 {
    sqlx::query_scalar("select count(*) from events where aggregate_id = $1 and event_type = $2")
        .bind(stream_id)
        .bind(event_type)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

/// What must always hold, each as a query for the number of violations.
const BOOKS: [(&str, &str); 10] = [
    (
        "rewards and reversals whose totals are not the sums of those before them",
        "select count(*) from (
            select
                coalesce((payload ->> 'level_total_minor')::bigint, net)
                    is distinct from sum(amount) over by_level
                or event_type = 'RewardGranted' and (payload ->> 'level_count')::bigint
                    is distinct from count(*) filter (where event_type = 'RewardGranted') over by_level
                or net is distinct from sum(amount) over by_earner as wrong
            from (
                select aggregate_id, position, event_type, payload,
                    (payload -> 'posting' ->> 'amount')::bigint as amount,
                    coalesce((payload -> 'posting' -> 'after' ->> 'earned')::bigint, 0)
                        - coalesce((payload -> 'posting' -> 'after' ->> 'reversed')::bigint, 0) as net
                from events where event_type in ('RewardGranted', 'RewardReversed')
            ) as moved
            window by_level as (
                    partition by aggregate_id, payload ->> 'level' order by position),
                by_earner as (partition by aggregate_id order by position)
        ) as rewards where wrong",
    ),
    (
        "entries whose balance is not the sum of the entries before them",
        "select count(*) from (
            select balance is distinct from sum(change)
                    over (partition by aggregate_id order by position) as wrong
            from (
                select aggregate_id, position,
                    case when payload -> 'posting' ? 'from' then 0
                        else (payload -> 'posting' ->> 'amount')::bigint end as change,
                    (
                        select coalesce(sum(value::bigint), 0)
                        from jsonb_each_text(payload -> 'posting' -> 'after')
                        where key in ('pending', 'available', 'reserved')
                    ) as balance
                from events
                where payload ? 'posting' or event_type in ('RewardGranted', 'PurchaseCredited')
            ) as posted
        ) as entries where wrong",
    ),
    (
        "entries whose balance is not what the sums beside it come to",
        "select count(*) from events
        cross join lateral (
            select sum(value::bigint * case
                when key in ('pending', 'available', 'reserved') then 1
                when key in ('earned', 'credited', 'adjusted') then -1
                when key in ('reversed', 'spent', 'paid', 'expired') then 1
            end) as difference, bool_or(value = '0') as has_zeros
            from jsonb_each_text(payload -> 'posting' -> 'after')
        ) as buckets
        where payload ? 'posting' and (difference <> 0 or has_zeros)",
    ),
    (
        "referrals that do not count one more use",
        "select count(*) from (
            select event_type, (payload ->> 'uses')::bigint <> sum(
                (event_type = 'ReferralMade' and payload ->> 'status' is distinct from 'rejected')::integer
                    + (payload ->> 'previous_status' is not distinct from 'rejected')::integer
                    - (event_type = 'ReferralUpdated' and payload ->> 'status' = 'rejected')::integer
            ) over (partition by aggregate_id order by position) as wrong
            from events where event_type in ('ReferralMade', 'ReferralUpdated')
        ) as referrals where wrong and event_type = 'ReferralMade'",
    ),
    (
        "participants with more than one referrer",
        "select count(*) from (
            select from events where event_type = 'ReferralApplied'
            group by aggregate_id having count(*) > 1
        ) as twice",
    ),
    (
        "referrals that the log and the table of referrals do not both have",
        "select count(*) from (
            select split_part(aggregate_id, '/', 1) as program_id,
                substr(aggregate_id, strpos(aggregate_id, '/') + 1) as referee_user_id,
                payload ->> 'referrer_user_id' as referrer_user_id
            from events where event_type = 'ReferralApplied'
        ) as logged
        full join referrals using (program_id, referee_user_id, referrer_user_id)
        where logged is null or referrals is null",
    ),
    (
        "referrals that both ends do not say the same of",
        "select count(*) from (
            select aggregate_id as referee, split_part(aggregate_id, '/', 1) || '/'
                    || (payload ->> 'referrer_user_id') as referrer,
                coalesce(payload ->> 'status', 'pending') as first_status,
                exists (
                    select from events as converted
                    where converted.aggregate_type = 'Participant'
                        and converted.aggregate_id = applied.aggregate_id
                        and converted.event_type = 'ReferralConverted') as is_converted
            from events as applied where event_type = 'ReferralApplied'
        ) as of_referee
        full join (
            select split_part(aggregate_id, '/', 1) || '/' || (payload ->> 'referee_user_id')
                    as referee,
                aggregate_id as referrer,
                coalesce(payload ->> 'status', 'pending') as first_status,
                exists (
                    select from events as updated
                    where updated.aggregate_type = 'Participant'
                        and updated.aggregate_id = made.aggregate_id
                        and updated.event_type = 'ReferralUpdated'
                        and updated.payload ->> 'referee_user_id'
                            = made.payload ->> 'referee_user_id'
                        and updated.payload ->> 'status' = 'converted') as is_converted
            from events as made where event_type = 'ReferralMade'
        ) as of_referrer using (referee, referrer, first_status, is_converted)
        where of_referee is null or of_referrer is null",
    ),
    (
        "participants that the log, the enrollments and the codes do not all have",
        "select abs(logged - enrolled) + abs(logged - codes) from (
            select
                (select count(*) from events where event_type = 'ParticipantEnrolled') as logged,
                (select count(*) from enrollments) as enrolled,
                (select count(*) from claims where kind = 'code') as codes
        ) as counts",
    ),
    (
        "users that the log, the profiles and the names do not all have",
        "select abs(logged - profiles) + abs(logged - names) + abs(logged - addresses) from (
            select
                (select count(*) filter (where event_type = 'UserRegistered')
                    - count(*) filter (where event_type = 'UserErased') from events) as logged,
                (select count(*) from profiles) as profiles,
                (select count(*) from claims where kind = 'username') as names,
                (select count(*) from claims where kind = 'email') as addresses
        ) as counts",
    ),
    (
        "commands that are not in the log as a whole, or receipts of no such command",
        "select
            (select count(*) from (
                select (lead(position) over (order by position)) - position
                    <> (metadata ->> 'command_events')::bigint as wrong
                from events where metadata ? 'command_events'
            ) as commands where wrong)
            + (select count(*) from receipts
                left join events on events.position = receipts.first_position
                where receipts.last_position >= receipts.first_position
                    and (events.metadata ->> 'command_events')::bigint is distinct from
                        receipts.last_position - receipts.first_position + 1)",
    ),
];

/// Checks what must always hold: every running total is the sum of the entries before it, the log and the
/// tables outside it agree, and every command is in the log as a whole.
pub async fn check_books(database: &TestDatabase) {
    for (what, query) in BOOKS {
        assert_eq!(database.count(query).await, 0, "{what}");
    }
}
