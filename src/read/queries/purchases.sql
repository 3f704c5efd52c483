-- The positions of purchases in the log, newest first, with the number of events of each command: $1 before this
-- position, $2 limit, $3 after this position. $4: only those with consequences in this program; null for any. $5: the
-- maximum number of purchases to examine for that. $6: only those of this buyer; null for any. Every row says how many
-- were examined, and down to which position.
--
-- What depends on whether a parameter is null is decided once, before anything is read, also in a generic plan.
with examined as materialized (
    (
        select page.last_position, (event.metadata ->> 'command_events')::bigint as command_events
        from (
            select last_position from {purchases}
            where $6::text is null
                and last_position > 0 and last_position < $1 and last_position > $3
            order by last_position desc
            limit $5
        ) as page
        cross join lateral (
            select metadata from events where events.position = page.last_position limit 1
        ) as event
    )
    union all
    (
        select purchase.last_position, purchase.command_events
        from (values (false), (true)) as kind (earns_nothing)
        cross join lateral (
            select known.last_position, (event.metadata ->> 'command_events')::bigint as command_events
            from {purchases} as known
            cross join lateral (
                select metadata, payload from events where events.position = known.last_position limit 1
            ) as event
            where $6::text is not null
                and known.buyer_hash = hashtextextended($6, 0)
                and known.earns_nothing = kind.earns_nothing
                and known.last_position < $1 and known.last_position > $3
                and event.payload ->> 'buyer_user_id' = $6
            order by known.last_position desc
            limit $5
        ) as purchase
        order by purchase.last_position desc
        limit $5
    )
), page as (
    select examined.last_position, examined.command_events
    from examined
    where $4::text is null or exists (
        -- What followed from the purchase in the program: on participants of it, or on the purchase itself.
        select from events as consequence
        where consequence.position > examined.last_position
            and consequence.position < examined.last_position + examined.command_events
            and (
                consequence.aggregate_type = 'Participant'
                    and starts_with(consequence.aggregate_id, $4 || '/')
                or consequence.payload ->> 'program_id' = $4
            )
        -- An index scan that ends at the first one. Without the offset Postgres drops the order and the limit, and
        -- takes a bitmap scan, which costs three times as much.
        order by consequence.position
        limit 1 offset 0
    )
    order by examined.last_position desc
    limit $2
)
select {position} as position, far.examined, far.down_to, page.last_position as first_position,
    page.command_events
from (select count(*) as examined, min(last_position) as down_to from examined) as far
left join page on true
order by page.last_position desc
