-- Stores states of streams. Snapshots are a cache: losing some in a crash does no harm, so the commit does not
-- wait for the disk.
with careless as materialized (
    select set_config('synchronous_commit', 'off', true)
)
insert into snapshots as known (
    aggregate_type, aggregate_id, last_sequence, current_snapshot, state_version, payload)
select s.aggregate_type, s.aggregate_id, s.version, 1, s.state_version, s.payload::jsonb
from careless, unnest($1::text[], $2::text[], $3::bigint[], $4::integer[], $5::text[])
    as s(aggregate_type, aggregate_id, version, state_version, payload)
on conflict (aggregate_type, aggregate_id) do update
set last_sequence = excluded.last_sequence,
    current_snapshot = known.current_snapshot + 1,
    state_version = excluded.state_version,
    payload = excluded.payload
where known.last_sequence < excluded.last_sequence
