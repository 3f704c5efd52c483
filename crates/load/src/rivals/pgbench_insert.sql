\set n :n + 1
\set position :client_id * 10000000000 + :n
insert into events (
    position, sequence, recorded_at, aggregate_type, aggregate_id,
    event_type, event_version, payload, metadata
) values (
    cast(:position as bigint), cast(:n as bigint), now(), 'Participant',
    'comparison/user-' || lpad(cast(:client_id as text), 7, '0'),
    'RewardGranted', '1.0.0', cast(:payload as jsonb), '{}'
);
