-- Where in the log each purchase of each buyer is; what it was and what came of it stands there.
create table {table} (
    -- A hash of the buyer's id, which is a quarter of its size. Whoever looks for a buyer also compares the
    -- id in the event.
    buyer_hash    bigint not null,
    -- The event that recorded it, which never changes.
    last_position bigint not null,
    primary key (buyer_hash, last_position)
);

-- The condition, which always holds, keeps it from queries for one buyer: only those for all repeat it.
create index on {table} (last_position)
    where last_position > 0;
