-- Visits of the pages that shared links lead to, counted by days in UTC. Rows, and no events: nothing follows from a
-- visit. Nothing says who came: addresses are remembered in the memory of servers only, and hashed.

-- By the participant whose link it was. A participant has one code, so that this is by code, too.
create table visits (
    user_id     text    collate "C" not null,
    program_id  text    collate "C" not null,
    day         date    not null,
    -- How often, raised by every server by what it has counted.
    visit_count bigint  not null check (visit_count > 0),
    primary key (user_id, program_id, day)
);

-- By program: what the pages of operators show without adding up its participants. It stays when a participant is
-- erased.
create table program_visits (
    program_id  text    collate "C" not null,
    day         date    not null,
    visit_count bigint  not null check (visit_count > 0),
    primary key (program_id, day)
);
