-- The events of each stream after its snapshot. The snapshot comes with the first of them, and so does whether
-- the log has its last event: a snapshot can be ahead of a log that has lost its end.
select s.ordinal, e.sequence, e.event_type, e.event_version, e.payload::text as payload,
    snapshot.last_sequence, snapshot.is_in_log,
    case when e.sequence is null or e.sequence = snapshot.last_sequence + 1
        then snapshot.payload end as snapshot
from unnest($1::text[], $2::text[], $3::integer[])
    with ordinality as s(aggregate_type, aggregate_id, state_version, ordinal)
left join lateral (
    select last_sequence, payload, exists (
            select from events
            where events.aggregate_type = s.aggregate_type
                and events.aggregate_id = s.aggregate_id
                and events.sequence = snapshots.last_sequence
        ) as is_in_log
    from snapshots
    where snapshots.aggregate_type = s.aggregate_type
        and snapshots.aggregate_id = s.aggregate_id
        and snapshots.state_version = s.state_version
    limit 1
) as snapshot on true
left join lateral (
    select * from events
    where events.aggregate_type = s.aggregate_type
        and events.aggregate_id = s.aggregate_id
        and events.sequence > coalesce(snapshot.last_sequence, 0)
    order by events.sequence
) as e on true
order by s.ordinal, e.sequence
