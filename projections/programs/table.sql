-- The rules of each program that are in force now.
create table {table} (
    program_id    text collate "C" primary key,
    -- The event that published them.
    last_position bigint  not null,
    version       integer not null,
    rules         jsonb   not null
);
