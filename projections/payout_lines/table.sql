-- The lines of payouts: who gets what, or why not.
create table {table} (
    -- The payout, `program/payout`.
    payout               text collate "C" not null,
    user_id              text collate "C" not null,
    -- The last event that changed the row.
    last_position        bigint      not null,
    -- `skipped`, `reserved`, `paid`, `failed` or `returned`.
    state                text collate "C" not null,
    -- What the participant gets, or would have got, in minor units; 0 if they were skipped.
    amount_minor         bigint      not null,
    -- What was available when the payout was created.
    available_then_minor bigint      not null,
    -- Why the participant was skipped; null if they were not.
    skip_reason          text collate "C",
    -- Why it has failed, or came back; null if nobody said so.
    reason_code          text,
    -- What the provider calls the last transfer; null if nobody said so.
    provider_reference   text,
    create_time          timestamptz not null,
    change_time          timestamptz not null,
    primary key (payout, user_id)
) with (fillfactor = 70);

-- For the lines in one state.
create index on {table} (payout, state, user_id);
