-- Fraud flags. Evidence is personal data and is stored elsewhere.
create table {table} (
    flag_id           text collate "C" primary key,
    -- The last event that changed the row.
    last_position     bigint      not null,
    raised_position   bigint      not null,
    -- Whether nobody has decided yet. Open flags come first in lists.
    is_open           boolean     not null,
    kind              text        not null,
    score_bps         integer     not null,
    program_id        text collate "C" not null,
    -- Null for refused sign-ups.
    referee_user_id   text collate "C",
    referrer_user_id  text collate "C",
    -- Null if nobody else is concerned.
    other_user_id     text collate "C",
    occasion          text        not null,
    consequence       text        not null,
    -- The kinds of the other findings; null if there are none.
    evidence          jsonb,
    raise_time        timestamptz not null,
    -- As far as events say.
    recorded_count    integer     not null,
    -- The decision that holds, when it was made and by whom; null while the flag is open.
    decision          text,
    -- Whether that decision takes rewards back.
    reverses_rewards  boolean     not null,
    resolve_time      timestamptz,
    resolved_by       text
);

-- For lists in their order, of all programs or of one.
create index on {table} (is_open, raised_position);
create index on {table} (program_id, is_open, raised_position);
-- For the flags of a user.
create index on {table} (referee_user_id);
create index on {table} (referrer_user_id);
create index on {table} (other_user_id);
