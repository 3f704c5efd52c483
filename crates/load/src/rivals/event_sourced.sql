-- The tables of postgres-es, from its db/init.sql, with three things that make them faster: jsonb
-- (which is what the crate sends; json would be converted), text compared byte by byte, and a key of
-- snapshots without their last sequence, so that a snapshot is replaced in place.
create table events (
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null,
    sequence       bigint           not null check (sequence >= 0),
    event_type     text             not null,
    event_version  text             not null,
    payload        jsonb            not null,
    metadata       jsonb            not null,
    primary key (aggregate_type, aggregate_id, sequence)
);

create table snapshots (
    aggregate_type   text collate "C" not null,
    aggregate_id     text collate "C" not null,
    last_sequence    bigint           not null check (last_sequence >= 0),
    current_snapshot bigint           not null check (current_snapshot >= 0),
    payload          jsonb            not null,
    primary key (aggregate_type, aggregate_id)
);
