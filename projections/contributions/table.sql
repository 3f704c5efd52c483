-- What each participant earned for those above: the rewards for the participant's own sign-up and purchases, without
-- what was taken back, level by level. A line never changes, so the level determines the earner.
create table {table} (
    program_id     text collate "C" not null,
    -- The user whose sign-up and purchases these are.
    source_user_id text collate "C" not null,
    -- How far above the source the earner is; 0 is the source.
    level          integer not null,
    -- The last event that changed the row.
    last_position  bigint  not null,
    -- In minor units of the program's unit.
    total_minor    bigint  not null,
    primary key (program_id, source_user_id, level)
) with (fillfactor = 70);
