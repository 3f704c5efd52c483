-- All events of every command that wrote to each of these streams, in the order of the log.
select s.ordinal, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
    e.payload::text as payload
from unnest($1::text[], $2::text[]) with ordinality as s(aggregate_type, aggregate_id, ordinal)
cross join lateral (
    select distinct command.first, command.number
    from (
        select position from events
        where events.aggregate_type = s.aggregate_type and events.aggregate_id = s.aggregate_id
    ) as own
    cross join lateral (
        -- The first event of a command holds the number of its events.
        select position as first, (metadata ->> 'command_events')::bigint as number from events
        where events.position <= own.position and metadata ? 'command_events'
        order by events.position desc
        limit 1
    ) as command
) as command
cross join lateral (
    select * from events where position between command.first and command.first + command.number - 1
) as e
order by s.ordinal, e.position
