-- Redemptions in the stores of programs.
create table {table} (
    -- The id of the stream, `program/redemption`.
    redemption    text collate "C" primary key,
    -- The last event that changed the row.
    last_position bigint      not null,
    made_position bigint      not null,
    program_id    text collate "C" not null,
    user_id       text collate "C" not null,
    item_id       text collate "C" not null,
    item_version  integer     not null,
    cost_minor    bigint      not null,
    unit          text        not null,
    -- `made`, `fulfilled` or `cancelled`.
    state         text collate "C" not null,
    redeem_time   timestamptz not null,
    -- When it was fulfilled or cancelled; null if neither.
    end_time      timestamptz
);

-- For lists in their order: all, in one state, of a program, of a user.
create index on {table} (made_position);
create index on {table} (state, made_position);
create index on {table} (program_id, made_position);
create index on {table} (user_id, made_position);
