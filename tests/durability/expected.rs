//! The expected content of the read models, computed from the log alone and in a different way from the
//! folds: sums over all events, where the folds add up runs or take the last total.

use std::time::Duration;

use sqlx::{Executor, Row};
use tributary::read::models;

use testing::TestDatabase;

/// Common table expressions of all queries below.
const FACTS: &str = "
    of_participant as (
        select *, split_part(aggregate_id, '/', 1) as program_id,
            substr(aggregate_id, strpos(aggregate_id, '/') + 1) as user_id
        from events where aggregate_type = 'Participant'
    ),
    referral as (
        select program_id, user_id as referee, payload ->> 'referrer_user_id' as referrer, position,
            coalesce((
                select coalesce(changed.payload ->> 'status', 'pending') from events as changed
                where changed.aggregate_type = 'Participant' and changed.aggregate_id = referral.aggregate_id
                    and changed.event_type in ('ReferralStandingChanged', 'ReferralUnconverted')
                order by changed.position desc limit 1), payload ->> 'status', 'pending') as status,
            coalesce((
                select coalesce(changed.payload -> 'hold_reasons', '[]') from events as changed
                where changed.aggregate_type = 'Participant' and changed.aggregate_id = referral.aggregate_id
                    and changed.event_type in ('ReferralStandingChanged', 'ReferralUnconverted')
                order by changed.position desc limit 1), payload -> 'hold_reasons', '[]') as hold_reasons,
            case when payload ? 'status' then (
                select min(changed.position) from events as changed
                where changed.aggregate_type = 'Participant' and changed.aggregate_id = referral.aggregate_id
                    and changed.event_type = 'ReferralStandingChanged'
                    and changed.payload ->> 'status' = 'pending')
                else position end as counted_at,
            (payload ->> 'referral_time_us')::bigint as time_us,
            -- Whether the referrer was active, by what happened to them before.
            coalesce((
                select (last.event_type = 'ParticipantReactivated')::integer from events as last
                where last.aggregate_type = 'Participant' and last.position < coalesce((
                        select max(changed.position) from events as changed
                        where changed.aggregate_type = 'Participant'
                            and changed.aggregate_id = referral.aggregate_id
                            and changed.event_type = 'ReferralStandingChanged'
                            and changed.payload ->> 'status' = 'pending'), referral.position)
                    and last.aggregate_id = program_id || '/' || (referral.payload ->> 'referrer_user_id')
                    and last.event_type in ('ParticipantDeactivated', 'ParticipantReactivated')
                order by last.position desc limit 1), 1) as made_for_tiers
        from of_participant as referral where event_type = 'ReferralApplied'
    ),
    conversion as (
        select program_id, user_id as referee, payload ->> 'purchase_id' as purchase_id, position,
            recorded_at, (not payload ? 'converted_while_inactive')::integer as converted_for_tiers
        from of_participant where event_type = 'ReferralConverted'
            and not exists (select from of_participant as undone
                where undone.event_type = 'ReferralUnconverted' and undone.aggregate_id = of_participant.aggregate_id
                    and undone.position > of_participant.position)
    ),
    -- Every conversion and every undoing of one, with the conversion that it is about.
    conversion_step as (
        select program_id, user_id as referee, position, (
                select max(converted.recorded_at) from of_participant as converted
                where converted.event_type = 'ReferralConverted'
                    and converted.aggregate_id = of_participant.aggregate_id
                    and converted.position <= of_participant.position) as convert_time
        from of_participant where event_type in ('ReferralConverted', 'ReferralUnconverted')
    ),
    -- The other end of each step of a referral.
    of_referrer as (
        select program_id, position
        from of_participant where event_type in ('ReferralMade', 'ReferralUpdated')
    ),
    outcome as (
        select program_id, referee, referral.referrer, status, hold_reasons, time_us,
            referral.position as made_at, conversion.position as converted_at,
            made_for_tiers, coalesce(converted_for_tiers, 0) as converted_for_tiers,
            conversion.recorded_at as convert_time,
            (conversion.position is not null)::integer as is_converted,
            (conversion.position is null and status = 'pending')::integer as is_pending,
            (status = 'held')::integer as is_held
        from referral left join conversion using (program_id, referee)
    ),
    reward as (
        select program_id, user_id as earner, payload ->> 'source_user_id' as source,
            (payload ->> 'level')::integer as level,
            (payload -> 'posting' ->> 'amount')::bigint as amount, position
        from of_participant where event_type = 'RewardGranted'
    ),
    -- Rewards, and what was taken back of them.
    earning as (
        select program_id, user_id as earner, payload ->> 'source_user_id' as source,
            (payload ->> 'level')::integer as level,
            (payload -> 'posting' ->> 'amount')::bigint as amount, position
        from of_participant where event_type in ('RewardGranted', 'RewardReversed')
    ),
    posting as (
        select program_id, user_id, position, payload -> 'posting' ->> 'kind' as kind,
            (payload -> 'posting' ->> 'amount')::bigint as amount,
            coalesce(payload -> 'posting' ->> 'to', 'available') as to_bucket,
            payload -> 'posting' ->> 'from' as from_bucket
        from of_participant where payload ? 'posting'
    ),
    -- The parts of each balance and its sums, added up from all its postings.
    balance as (
        select program_id, user_id,
            coalesce(sum(amount) filter (where to_bucket = 'pending'), 0)
                - coalesce(sum(amount) filter (where from_bucket = 'pending'), 0) as pending,
            coalesce(sum(amount) filter (where to_bucket = 'available'), 0)
                - coalesce(sum(amount) filter (where from_bucket = 'available'), 0) as available,
            coalesce(sum(amount) filter (where to_bucket = 'reserved'), 0)
                - coalesce(sum(amount) filter (where from_bucket = 'reserved'), 0) as reserved,
            sum(amount) filter (where kind in ('points', 'credit', 'bonus', 'commission')) as earned,
            sum(amount) filter (where kind = 'purchase_credit') as credited,
            sum(amount) filter (where kind = 'adjustment') as adjusted,
            -sum(amount) filter (where kind = 'reversal') as reversed,
            -sum(amount) filter (where kind = 'redemption') as spent,
            -sum(amount) filter (where kind = 'payout') as paid,
            -sum(amount) filter (where kind = 'expiry') as expired
        from posting group by program_id, user_id
    ),
    payout_line as (
        select *, split_part(aggregate_id, '/', 1) || '/' || split_part(aggregate_id, '/', 2) as payout,
            regexp_replace(aggregate_id, '^[^/]*/[^/]*/', '') as user_id
        from events where aggregate_type = 'PayoutLine'
    ),
    purchase as (
        select aggregate_id as purchase_id, payload ->> 'buyer_user_id' as buyer,
            (payload ->> 'purchase_time_us')::bigint as time_us, position
        from events where event_type = 'PurchaseRecorded'
    )";

/// Every read model with a query for its expected rows.
const EXPECTED: [(&str, &str); 13] = [
    (
        "approvals",
        "select asked.aggregate_id, coalesce(decided.position, asked.position), asked.position,
            split_part(asked.aggregate_id, '/', 1),
            substr(asked.aggregate_id, strpos(asked.aggregate_id, '/') + 1,
                strpos(asked.aggregate_id, case when asked.aggregate_id like '%/adjustment:%'
                    then '/adjustment:' else '/payout:' end) - strpos(asked.aggregate_id, '/') - 1),
            coalesce(case decided.event_type
                when 'ApprovalGranted' then 'approved' when 'ApprovalDeclined' then 'declined' end, 'pending'),
            asked.payload -> 'asked', asked.metadata ->> 'actor', asked.recorded_at,
            decided.metadata ->> 'actor', decided.recorded_at
        from events as asked
        left join events as decided on decided.aggregate_id = asked.aggregate_id
            and decided.event_type in ('ApprovalGranted', 'ApprovalDeclined')
        where asked.event_type = 'ApprovalRequested'",
    ),
    (
        "contributions",
        "select program_id, source, level, max(position), sum(amount)::bigint
        from earning group by program_id, source, level",
    ),
    (
        "conversion_days",
        "select program_id, day, max(position), sum(referrals), sum(converted), sum(purchases),
            sum(time_us), sum(conversions)
        from (
            select referral.program_id,
                (to_timestamp(referral.time_us / 1000000) at time zone 'UTC')::date as day,
                greatest(referral.counted_at, conversion.position) as position,
                1 as referrals,
                (conversion.position is not null)::integer as converted,
                (purchase.position is not null)::integer as purchases,
                greatest(coalesce(purchase.time_us - referral.time_us, 0), 0) as time_us,
                0 as conversions
            from referral
            left join conversion using (program_id, referee)
            left join purchase using (purchase_id)
            where referral.counted_at is not null
            union all
            select program_id, (recorded_at at time zone 'UTC')::date, position, 0, 0, 0, 0, 1
            from conversion
            union all
            select program_id, (convert_time at time zone 'UTC')::date, position, 0, 0, 0, 0, 0
            from conversion_step
            union all
            select program_id, (to_timestamp(referral.time_us / 1000000) at time zone 'UTC')::date,
                conversion_step.position, 0, 0, 0, 0, 0
            from conversion_step join referral using (program_id, referee)
        ) as facts
        group by program_id, day",
    ),
    (
        "fraud_flags",
        "select raised.aggregate_id as flag_id,
            (select max(position) from events as own
                where own.aggregate_type = 'FraudFlag' and own.aggregate_id = raised.aggregate_id) as last_position,
            raised.position as raised_position,
            decided.decision is null as is_open,
            raised.payload ->> 'kind' as kind,
            (raised.payload ->> 'score_bps')::integer as score_bps,
            raised.payload ->> 'program_id' as program_id,
            raised.payload ->> 'referee_user_id' as referee_user_id,
            raised.payload ->> 'referrer_user_id' as referrer_user_id,
            raised.payload ->> 'other_user_id' as other_user_id,
            raised.payload ->> 'occasion' as occasion,
            raised.payload ->> 'consequence' as consequence,
            raised.payload -> 'evidence' as evidence,
            raised.recorded_at as raise_time,
            coalesce((select max((own.payload ->> 'count')::integer) from events as own
                where own.event_type = 'FraudFlagRepeated' and own.aggregate_id = raised.aggregate_id), 1)
                as recorded_count,
            decided.decision, coalesce(decided.reverses_rewards, false) as reverses_rewards,
            decided.resolve_time, decided.resolved_by
        from events as raised
        left join lateral (
            select own.payload ->> 'decision' as decision, own.payload ? 'reverses_rewards' as reverses_rewards,
                own.recorded_at as resolve_time,
                own.metadata ->> 'actor' as resolved_by
            from events as own
            where own.event_type = 'FraudFlagResolved' and own.aggregate_id = raised.aggregate_id
                and not exists (select from events as later
                    where later.event_type = 'FraudFlagRepeated' and later.aggregate_id = raised.aggregate_id
                        and later.position > own.position)
            order by own.position desc limit 1
        ) as decided on true
        where raised.event_type = 'FraudFlagRaised'",
    ),
    (
        "items",
        "select first.aggregate_id,
            (select max(position) from events as own
                where own.aggregate_type = 'StoreItem' and own.aggregate_id = first.aggregate_id),
            first.position, split_part(first.aggregate_id, '/', 1),
            (last.payload ->> 'version')::integer, last.payload -> 'terms',
            (select coalesce(
                    sum(case event_type when 'ItemTaken' then 1 when 'ItemPutBack' then -1 else 0 end), 0
                )::bigint
                from events as own
                where own.aggregate_type = 'StoreItem' and own.aggregate_id = first.aggregate_id),
            first.recorded_at
        from events as first
        join lateral (
            select payload from events as own
            where own.event_type = 'ItemPublished' and own.aggregate_id = first.aggregate_id
            order by own.position desc limit 1
        ) as last on true
        where first.event_type = 'ItemPublished' and first.sequence = 1",
    ),
    (
        "overviews",
        "select program_id, max(position), sum(enrolled)::integer, sum(referred)::integer,
            sum(pending)::integer, sum(held)::integer, sum(converted)::integer,
            sum(rejected)::integer, sum(rewards)::integer, sum(amount)::bigint,
            coalesce((select sum(reversed) from balance where balance.program_id = facts.program_id), 0),
            (select coalesce(sum(pending) filter (where pending > 0), 0) from balance
                where balance.program_id = facts.program_id),
            (select coalesce(sum(available) filter (where available > 0), 0) from balance
                where balance.program_id = facts.program_id),
            (select coalesce(sum(reserved) filter (where reserved > 0), 0) from balance
                where balance.program_id = facts.program_id),
            (select coalesce(-sum(available) filter (where available < 0), 0) from balance
                where balance.program_id = facts.program_id)
        from (
            select aggregate_id as program_id, position, 0 as enrolled, 0 as referred, 0 as pending,
                0 as held, 0 as converted, 0 as rejected, 0 as rewards, 0 as amount
            from events where event_type = 'ProgramPublished'
            union all
            select program_id, position, 1, 0, 0, 0, 0, 0, 0, 0
            from of_participant where event_type = 'ParticipantEnrolled'
            union all
            select program_id, made_at, 0, 1, is_pending, is_held,
                is_converted, (status = 'rejected')::integer, 0, 0
            from outcome
            union all
            select program_id, position, 0, 0, 0, 0, 0, 0, 0, 0 from of_referrer
            union all
            select program_id, position, 0, 0, 0, 0, 0, 0, 0, 0 from posting
            union all
            select program_id, position, 0, 0, 0, 0, 0, 0, 1, amount from reward
        ) as facts
        group by program_id",
    ),
    (
        "participants",
        "select me.program_id, me.user_id,
            own.position, me.position, me.recorded_at,
            me.payload ->> 'code', own.is_active,
            by.referrer, case by.is_converted when 1 then 'converted' else by.status end, by.hold_reasons, by.made_at,
            to_timestamp(by.time_us / 1000000) + (by.time_us % 1000000) * interval '1 microsecond',
            by.convert_time,
            coalesce(made.pending, 0), coalesce(made.held, 0), coalesce(made.converted, 0),
            coalesce(made.for_tiers, 0), coalesce(made.converted_for_tiers, 0), own.uses,
            case
                when me.program_id <> 'tiered-points' or coalesce(made.for_tiers, 0) < 10 then null
                when made.for_tiers < 50 then 'Silver' else 'Gold'
            end,
            coalesce(earned.rewards, 0),
            (coalesce(balance.earned, 0) - coalesce(balance.reversed, 0))::bigint,
            coalesce(balance.pending + balance.available + balance.reserved, 0)::bigint,
            coalesce(by_level.totals, '{}'), coalesce(earned.by_level, '{}'),
            jsonb_strip_nulls(jsonb_build_object(
                'pending', nullif(balance.pending, 0), 'available', nullif(balance.available, 0),
                'reserved', nullif(balance.reserved, 0), 'earned', nullif(balance.earned, 0),
                'credited', nullif(balance.credited, 0), 'adjusted', nullif(balance.adjusted, 0),
                'reversed', nullif(balance.reversed, 0), 'spent', nullif(balance.spent, 0),
                'paid', nullif(balance.paid, 0), 'expired', nullif(balance.expired, 0)))
        from of_participant as me
        join (
            select program_id, user_id,
                max(position) filter (
                    where event_type not in (
                        'FirstPurchaseUsed', 'RewardWithheld', 'RefereeAddressChanged')) as position,
                count(*) filter (where event_type = 'ParticipantDeactivated')
                    = count(*) filter (where event_type = 'ParticipantReactivated')
                    and count(*) filter (where event_type = 'ParticipantErased') = 0 as is_active,
                count(*) filter (where event_type = 'ReferralMade')
                    - (select count(*) from referral where referral.program_id = of_participant.program_id
                        and referral.referrer = of_participant.user_id and status = 'rejected') as uses
            from of_participant group by program_id, user_id
        ) as own using (program_id, user_id)
        left join (
            select program_id, referrer as user_id,
                sum(is_pending) as pending, sum(is_held) as held, sum(is_converted) as converted,
                sum(made_for_tiers * (is_pending + is_converted)) as for_tiers,
                sum(made_for_tiers * converted_for_tiers * is_converted) as converted_for_tiers
            from outcome group by program_id, referrer
        ) as made using (program_id, user_id)
        left join (
            select program_id, earner as user_id, sum(rewards) as rewards,
                jsonb_object_agg(level, rewards) as by_level
            from (
                select program_id, earner, level, count(*) as rewards
                from reward group by program_id, earner, level
            ) as of_level
            group by program_id, earner
        ) as earned using (program_id, user_id)
        left join (
            select program_id, earner as user_id, jsonb_object_agg(level, amount) as totals
            from (
                select program_id, earner, level, sum(amount)::bigint as amount
                from earning group by program_id, earner, level
            ) as of_level
            group by program_id, earner
        ) as by_level using (program_id, user_id)
        left join balance using (program_id, user_id)
        left join outcome as by on by.program_id = me.program_id and by.referee = me.user_id
        where me.event_type = 'ParticipantEnrolled'",
    ),
    (
        "payout_lines",
        "select payout, user_id, last.position, case last.event_type
                when 'PayoutLineSkipped' then 'skipped' when 'PayoutLineReserved' then 'reserved'
                when 'PayoutLinePaid' then 'paid' when 'PayoutLineFailed' then 'failed'
                when 'PayoutLineReturned' then 'returned' end,
            coalesce((made.payload ->> 'amount_minor')::bigint, 0),
            (made.payload ->> 'available_then_minor')::bigint, made.payload ->> 'reason',
            coalesce(last.payload ->> 'reason_code', before.payload ->> 'reason_code'),
            coalesce(last.payload ->> 'provider_reference', before.payload ->> 'provider_reference'),
            made.recorded_at, last.recorded_at
        from payout_line as made
        join payout_line as last using (payout, user_id)
        left join payout_line as before using (payout, user_id)
        where made.sequence = 1 and before.sequence = last.sequence - (last.sequence > 1)::integer
            and last.sequence = (select count(*) from events
                where aggregate_type = 'PayoutLine' and aggregate_id = made.payout || '/' || user_id)",
    ),
    (
        "payouts",
        "select created.aggregate_id,
            (select max(position) from events where aggregate_type in ('Payout', 'PayoutLine')
                and event_type <> 'PayoutApprovalWaived'
                and (aggregate_id = created.aggregate_id
                    or starts_with(aggregate_id, created.aggregate_id || '/'))),
            created.position, split_part(created.aggregate_id, '/', 1),
            case (select count(*) from events where aggregate_type = 'Payout'
                    and aggregate_id = created.aggregate_id and event_type <> 'PayoutApprovalWaived')
                when 1 then 'collecting' when 2 then 'open'
                when 3 then case started.event_type when 'PayoutFailureStarted' then 'failing' else 'confirming' end
                else case started.event_type when 'PayoutFailureStarted' then 'failed' else 'confirmed' end
            end,
            created.payload ->> 'unit', (created.payload ->> 'minimum_minor')::bigint,
            coalesce(created.metadata ->> 'actor', ''), created.recorded_at, collected.recorded_at,
            started.payload ->> 'provider_reference', started.payload ->> 'reason_code', lines.*
        from events as created
        left join events as collected on collected.aggregate_type = 'Payout'
            and collected.aggregate_id = created.aggregate_id and collected.event_type = 'PayoutCollected'
        left join events as started on started.aggregate_type = 'Payout'
            and started.aggregate_id = created.aggregate_id
            and started.event_type in ('PayoutConfirmationStarted', 'PayoutFailureStarted')
        cross join lateral (
            select count(*) filter (where event_type = 'PayoutLineSkipped'),
                count(*) filter (where event_type = 'PayoutLineReserved'),
                coalesce(sum(amount) filter (where event_type = 'PayoutLineReserved'), 0),
                count(*) filter (where event_type = 'PayoutLinePaid'),
                coalesce(sum(amount) filter (where event_type = 'PayoutLinePaid'), 0),
                count(*) filter (where event_type = 'PayoutLineFailed'),
                coalesce(sum(amount) filter (where event_type = 'PayoutLineFailed'), 0),
                count(*) filter (where event_type = 'PayoutLineReturned'),
                coalesce(sum(amount) filter (where event_type = 'PayoutLineReturned'), 0)
            from (
                select distinct on (user_id) event_type, (payload ->> 'amount_minor')::bigint as amount
                from payout_line where payout = created.aggregate_id
                order by user_id, sequence desc
            ) as line
        ) as lines
        where created.event_type = 'PayoutCreated'",
    ),
    (
        "programs",
        "select aggregate_id, position, sequence, payload -> 'rules'
        from events as published
        where event_type = 'ProgramPublished'
            and sequence = (select count(*) from events as own
                where own.aggregate_type = 'Program' and own.aggregate_id = published.aggregate_id)",
    ),
    (
        "purchases",
        "select hashtextextended(own.payload ->> 'buyer_user_id', 0), own.position,
            case when later.is_touched
                then not later.is_cancelled
                    and later.refunded >= (own.payload ->> 'amount_minor')::bigint
                else rewarded.purchase_id is null
            end
        from events as own
        left join (
            select distinct payload ->> 'purchase_id' as purchase_id
            from events where event_type = 'RewardGranted'
        ) as rewarded on rewarded.purchase_id = own.aggregate_id
        cross join lateral (
            select count(*) > 0 as is_touched,
                count(*) filter (where event_type = 'RefundCancelled') > 0 as is_cancelled,
                coalesce(sum((payload ->> 'amount_minor')::bigint)
                    filter (where event_type = 'PurchaseRefunded'), 0) as refunded
            from events
            where aggregate_type = 'Purchase' and aggregate_id = own.aggregate_id
                and event_type in ('PurchaseMadeUp', 'PurchaseRefunded', 'RefundCancelled')
        ) as later
        where own.event_type = 'PurchaseRecorded'",
    ),
    (
        "redemptions",
        "select made.aggregate_id, coalesce(ended.position, made.position), made.position,
            split_part(made.aggregate_id, '/', 1), made.payload ->> 'user_id', made.payload ->> 'item_id',
            (made.payload ->> 'item_version')::integer, (made.payload ->> 'cost_minor')::bigint,
            made.payload ->> 'unit',
            coalesce(case ended.event_type
                when 'RedemptionFulfilled' then 'fulfilled' when 'RedemptionCancelled' then 'cancelled' end, 'made'),
            made.recorded_at, ended.recorded_at
        from events as made
        left join events as ended on ended.aggregate_type = 'Redemption'
            and ended.aggregate_id = made.aggregate_id and ended.sequence = 2
        where made.event_type = 'RedemptionMade'",
    ),
    (
        "users",
        "select aggregate_id, last_position, position,
            to_timestamp((payload ->> 'register_time_us')::bigint / 1000000)
                + ((payload ->> 'register_time_us')::bigint % 1000000) * interval '1 microsecond',
            is_active, is_erased
        from events
        join (
            select aggregate_id, max(position) as last_position,
                count(*) filter (where event_type = 'UserDeactivated')
                    = count(*) filter (where event_type = 'UserReactivated')
                    and count(*) filter (where event_type = 'UserErased') = 0 as is_active,
                count(*) filter (where event_type = 'UserErased') > 0 as is_erased
            from events where event_type in ('UserRegistered', 'UserDeactivated', 'UserReactivated', 'UserErased')
            group by aggregate_id
        ) as own using (aggregate_id)
        where event_type = 'UserRegistered'",
    ),
];

/// The table that serves a read model.
pub async fn table(database: &TestDatabase, model: &str) -> String {
    sqlx::query_scalar("select copy from read_model_copies where name = $1")
        .bind(model)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

/// Waits until every read model has applied the whole log.
pub async fn caught_up(database: &TestDatabase) {
    let mut behind = String::new();
    for _ in 0..600 {
        behind = sqlx::query_scalar(
            "select coalesce(string_agg(copy, ', '), '') from read_model_copies as known
             where not is_complete
                or (select max(position) from checkpoints where checkpoints.copy = known.copy)
                    <> (select coalesce(max(position), 0) from events)",
        )
        .fetch_one(&database.pool)
        .await
        .unwrap();
        if behind.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{behind} did not reach the head of the log");
}

/// Checks that a table has exactly the rows of a query, with the same multiplicity.
pub async fn check_same(database: &TestDatabase, table: &str, query: &str) {
    let mut transaction = database.pool.begin().await.unwrap();
    // The planner has no statistics of tables that were just filled.
    transaction.execute("set local enable_nestloop = off").await.unwrap();
    let rows = sqlx::query(&format!(
        "with {FACTS}, known as (select * from {table}), expected as ({query}),
            known_row as (select known::text collate \"C\" as row from known),
            expected_row as (select expected::text collate \"C\" as row from expected)
         (select 'not expected' as what, row from
            (select * from known_row except all select * from expected_row) as left_over limit 5)
         union all
         (select 'missing', row from
            (select * from expected_row except all select * from known_row) as left_over limit 5)",
    ))
    .fetch_all(&mut *transaction)
    .await
    .unwrap();
    transaction.rollback().await.unwrap();
    let wrong: Vec<(String, String)> =
        rows.iter().map(|row| (row.get("what"), row.get("row"))).collect();
    assert!(wrong.is_empty(), "{table}: {wrong:#?}");
}

/// Checks that a table holds what a read model must hold.
pub async fn check_copy(database: &TestDatabase, model: &str, table: &str) {
    let (_, query) = EXPECTED.iter().find(|(name, _)| *name == model).unwrap();
    check_same(database, table, query).await;
}

/// Waits until the read models are at the head of the log, and checks all that they hold.
pub async fn check_read_models(database: &TestDatabase) {
    caught_up(database).await;
    let names: Vec<&str> = EXPECTED.iter().map(|(name, _)| *name).collect();
    assert_eq!(models::names(), names, "every read model is checked");
    for model in names {
        check_copy(database, model, &table(database, model).await).await;
    }
}
