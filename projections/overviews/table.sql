-- The key figures of each program.
create table {table} (
    program_id       text collate "C" primary key,
    -- The last event that changed the row.
    last_position    bigint  not null,
    -- Participants, and how many of them were referred.
    registered_count integer not null,
    referred_count   integer not null,
    -- Referrals by status.
    pending_count    integer not null,
    held_count       integer not null,
    converted_count  integer not null,
    rejected_count   integer not null,
    -- The number of rewards, and their sum in minor units of the program's unit.
    reward_count     bigint  not null,
    granted_minor    numeric not null
) with (fillfactor = 50);
