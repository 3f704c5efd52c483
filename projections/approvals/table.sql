-- What operators asked for and somebody else has to approve.
create table {table} (
    -- The id of the stream, `program/user/adjustment:ID`.
    approval_id        text collate "C" primary key,
    -- The last event that changed the row.
    last_position      bigint      not null,
    requested_position bigint      not null,
    program_id         text collate "C" not null,
    user_id            text collate "C" not null,
    -- Also once nobody waits any more: `pending`, `approved` or `declined`.
    state              text collate "C" not null,
    -- What is asked for, as the event has it.
    asked              jsonb       not null,
    -- Who asked, and who decided, as the log names actors; when. The latter are null while nobody has decided.
    asked_by           text        not null,
    request_time       timestamptz not null,
    decided_by         text,
    decide_time        timestamptz
);

-- For lists in their order: all, in one state, of a program, of a user.
create index on {table} (requested_position);
create index on {table} (state, requested_position);
create index on {table} (program_id, requested_position);
create index on {table} (user_id, requested_position);
