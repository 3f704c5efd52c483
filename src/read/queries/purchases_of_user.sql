-- The positions of one buyer's purchases in the log, newest first, with the number of events of each command:
-- $1 before this position, $2 limit, $3 after this position, $4 buyer.
select {position} as position, page.last_position as first_position, page.command_events
from (select) as one
left join lateral (
    select purchase.last_position,
        (event.metadata ->> 'command_events')::bigint as command_events
    from {purchases} as purchase
    cross join lateral (
        select metadata, payload from events where events.position = purchase.last_position limit 1
    ) as event
    where purchase.buyer_hash = hashtextextended($4, 0)
        and purchase.last_position < $1 and purchase.last_position > $3
        and event.payload ->> 'buyer_user_id' = $4
    order by purchase.last_position desc
    limit $2
) as page on true
order by page.last_position desc
