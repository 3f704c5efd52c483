-- The current rules of each program.
create table {table} (
    program_id    text collate "C" primary key,
    -- The event that published them.
    last_position bigint  not null,
    version       integer not null,
    rules         jsonb   not null
);
