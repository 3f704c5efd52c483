-- As purchases_of_program.sql, for one buyer: $6.
with examined as materialized (
    select purchase.last_position, (event.metadata ->> 'command_events')::bigint as command_events
    from {purchases} as purchase
    cross join lateral (
        select metadata, payload from events where events.position = purchase.last_position limit 1
    ) as event
    where purchase.buyer_hash = hashtextextended($6, 0)
        and purchase.last_position < $1 and purchase.last_position > $3
        and event.payload ->> 'buyer_user_id' = $6
    order by purchase.last_position desc
    limit $5
), page as (
    select examined.last_position, examined.command_events
    from examined
    where exists (
        -- What followed from the purchase in the program: on participants of it, or on the purchase itself.
        select from events as consequence
        where consequence.position > examined.last_position
            and consequence.position < examined.last_position + examined.command_events
            and (
                consequence.aggregate_type = 'Participant'
                    and starts_with(consequence.aggregate_id, $4 || '/')
                or consequence.payload ->> 'program_id' = $4
            )
    )
    order by examined.last_position desc
    limit $2
)
select {position} as position, far.examined, far.down_to, page.last_position as first_position,
    page.command_events
from (select count(*) as examined, min(last_position) as down_to from examined) as far
left join page on true
order by page.last_position desc
