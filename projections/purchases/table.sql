-- The position of each purchase in the log, by buyer, and whether it may earn something. The purchase itself and its
-- consequences are read from the log.
create table {table} (
    -- A hash of the buyer's id, a quarter of its size. Queries for a buyer also compare the id in the event.
    buyer_hash    bigint  not null,
    -- The event that recorded it, which never changes.
    last_position bigint  not null,
    -- Whether no reward was ever granted for it, or all of its price was refunded.
    earns_nothing boolean not null,
    -- A look-up of those that may earn steps over no others.
    primary key (buyer_hash, earns_nothing, last_position)
);

-- The condition, which always holds, keeps queries for one buyer from using this index: only queries for all
-- buyers repeat it.
create index on {table} (last_position)
    where last_position > 0;
