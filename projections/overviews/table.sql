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
    granted_minor    numeric not null,
    -- What was taken back of them, without what was given back again.
    reversed_minor   numeric not null,
    -- What is owed to participants: the sums of what is pending, available and reserved, where these are above zero.
    owed_pending_minor   numeric not null,
    owed_available_minor numeric not null,
    owed_reserved_minor  numeric not null,
    -- What participants owe: the sum of what is below zero, as a positive number.
    debt_minor       numeric not null
) with (fillfactor = 50);
