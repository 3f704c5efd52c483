-- The engine's log as migrations/0001_log.sql creates it: the same columns and the same two indexes.
create table events (
    position       bigint           not null,
    sequence       bigint           not null,
    recorded_at    timestamptz      not null,
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null,
    event_type     text collate "C" not null,
    event_version  text collate "C" not null,
    payload        jsonb            not null,
    metadata       jsonb            not null,
    primary key (aggregate_id, aggregate_type, sequence)
);

create unique index events_position on events (position);
