-- The positions of purchases with consequences in one program, newest first, with the number of events of each
-- command: $1 before this position, $2 limit, $3 after this position, $4 program, $5 the maximum number of purchases
-- to examine. Every row says how many were examined, and down to which position.
with examined as materialized (
    select page.last_position, (event.metadata ->> 'command_events')::bigint as command_events
    from (
        select last_position from {purchases}
        where last_position > 0 and last_position < $1 and last_position > $3
        order by last_position desc
        limit $5
    ) as page
    cross join lateral (
        select metadata from events where events.position = page.last_position limit 1
    ) as event
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
