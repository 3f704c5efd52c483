-- What each participant has brought in for those above: the rewards that their own sign-up and purchases
-- led to, level by level. A line never changes, so the level says who earned.
create table {table} (
    program_id     text collate "C" not null,
    -- Whose sign-up and purchases.
    source_user_id text collate "C" not null,
    -- How far above the earner is: 0 the source in person.
    level          integer not null,
    -- The last event that changed the row.
    last_position  bigint  not null,
    -- In minor units of the program's unit.
    total_minor    bigint  not null,
    primary key (program_id, source_user_id, level)
) with (fillfactor = 70);
