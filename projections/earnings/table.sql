-- What each participant has earned, level by level.
create table {table} (
    program_id    text collate "C" not null,
    user_id       text collate "C" not null,
    -- How far up the line from whoever caused the rewards.
    level         integer not null,
    -- The last event that changed the row.
    last_position bigint  not null,
    -- The sum of the rewards, in minor units of the program's unit, and their number.
    total_minor   bigint  not null,
    reward_count  integer not null,
    primary key (program_id, user_id, level)
) with (fillfactor = 70);
