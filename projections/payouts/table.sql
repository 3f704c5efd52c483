-- Payouts, and how far their lines are.
create table {table} (
    -- The id of the stream, `program/payout`.
    payout             text collate "C" primary key,
    -- The last event that changed the row.
    last_position      bigint      not null,
    created_position   bigint      not null,
    program_id         text collate "C" not null,
    -- `collecting`, `open`, `confirming`, `failing`, `confirmed` or `failed`.
    state              text collate "C" not null,
    unit               text        not null,
    minimum_minor      bigint      not null,
    -- Who created it, as the log names actors.
    created_by         text        not null,
    create_time        timestamptz not null,
    -- When everybody was collected; null before.
    collect_time       timestamptz,
    -- Of the whole payout, if it was confirmed or has failed as a whole.
    provider_reference text,
    reason_code        text,
    -- The number of lines in each state, and what they come to, in minor units: that of many can be more than a bigint.
    skipped_count      bigint      not null,
    reserved_count     bigint      not null,
    reserved_minor     numeric     not null,
    paid_count         bigint      not null,
    paid_minor         numeric     not null,
    failed_count       bigint      not null,
    failed_minor       numeric     not null,
    returned_count     bigint      not null,
    returned_minor     numeric     not null
) with (fillfactor = 70);

-- For lists in their order: all, and of a program.
create index on {table} (created_position);
create index on {table} (program_id, created_position);
