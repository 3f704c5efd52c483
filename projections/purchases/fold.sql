with event as materialized (
    select position, aggregate_id, event_type, payload ->> 'buyer_user_id' as buyer_user_id,
        coalesce((metadata ->> 'command_events')::bigint, 1) as command_events
    from events
    where position > $1 and position <= $2
        and event_type in ('PurchaseRecorded', 'RewardGranted', 'PurchaseMadeUp', 'PurchaseRefunded', 'RefundCancelled')
),
numbered as (
    select event.*, count(*) filter (where event_type = 'PurchaseRecorded') over (order by position) as number
    from event
),
-- The events of a command follow one another, the purchase first, so its rewards are before the next purchase. Those of
-- the last command can be behind the end of the run.
recorded as (
    select min(position) as position, max(buyer_user_id) as buyer_user_id,
        min(position) + max(command_events) filter (where event_type = 'PurchaseRecorded') as command_end,
        min(position) filter (where event_type = 'RewardGranted') as next_reward
    from numbered
    where number > 0
    group by number
),
-- Of these it is found out anew whether the whole price was refunded.
touched as (
    select own.position, is_refunded
    from (
        select distinct aggregate_id from event
        where event_type in ('PurchaseMadeUp', 'PurchaseRefunded', 'RefundCancelled')
    ) as purchase
    cross join lateral (
        select min(position) filter (where event_type = 'PurchaseRecorded') as position,
            -- A refund that was cancelled can be followed by another one; such purchases are looked at.
            not bool_or(event_type = 'RefundCancelled')
                and sum((payload ->> 'amount_minor')::numeric) filter (where event_type = 'PurchaseRefunded')
                    >= min((payload ->> 'amount_minor')::numeric) filter (where event_type = 'PurchaseRecorded')
                as is_refunded
        from events
        where aggregate_id = purchase.aggregate_id and aggregate_type = 'Purchase' and position <= $2
    ) as own
),
change as (
    select position, max(buyer_user_id) as buyer_user_id,
        -- Where anything was touched, that decides.
        coalesce(bool_or(is_refunded), bool_or(is_unrewarded)) as earns_nothing
    from (
        select position, buyer_user_id, null::boolean as is_refunded,
            coalesce(next_reward >= command_end, true) and not exists (
                select from events
                where recorded.command_end > $2 + 1 and events.position > $2
                    and events.position < recorded.command_end and events.event_type = 'RewardGranted'
            ) as is_unrewarded
        from recorded
        union all
        select position, null, coalesce(is_refunded, false), null from touched
    ) as both_kinds
    group by position
),
added as (
    insert into {table} (buyer_hash, last_position, earns_nothing)
    select hashtextextended(buyer_user_id, 0), position, earns_nothing from change where position > $1
)
update {table} as known
set earns_nothing = change.earns_nothing
from change
where change.position <= $1
    and known.last_position > 0 and known.last_position = change.position
    and known.earns_nothing <> change.earns_nothing
