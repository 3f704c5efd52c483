-- The items of the stores of programs.
create table {table} (
    -- The id of the stream, `program/item`.
    item               text collate "C" primary key,
    -- The last event that changed the row.
    last_position      bigint      not null,
    -- When the item was published first.
    published_position bigint      not null,
    program_id         text collate "C" not null,
    -- The last version, and what the item is in it, as the event has it.
    version            integer     not null,
    terms              jsonb       not null,
    -- How many pieces are redeemed and not put back.
    taken              bigint      not null,
    publish_time       timestamptz not null
);

-- For the list of a program in its order.
create index on {table} (program_id, published_position);
