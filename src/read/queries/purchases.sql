-- The positions of purchases in the log, newest first, with the number of events of each command: $1 before
-- this position, $2 limit, $3 after this position.
select {position} as position, page.last_position as first_position,
    (event.metadata ->> 'command_events')::bigint as command_events
from (select) as one
left join lateral (
    select * from {purchases}
    where last_position > 0 and last_position < $1 and last_position > $3
    order by last_position desc
    limit $2
) as page on true
left join events as event on event.position = page.last_position
order by page.last_position desc
