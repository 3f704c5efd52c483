-- A careful conventional design: a purchase is a row, a reward is a row, and a balance is a stored number.
-- Foreign keys are omitted: they would cost a lock and a look-up per row, and the engine has none.

-- The participants, and who earns from whom. Only `converted` ever changes, at the first purchase.
create table participants (
    user_id             text collate "C" primary key,
    parent_user_id      text collate "C",
    -- Stored with the parent, so that one row holds both earners.
    grandparent_user_id text collate "C",
    -- Whether a purchase of the participant has earned a reward.
    converted           boolean not null default false
) with (fillfactor = 80);

-- What each participant has earned, in minor units. Half of each page is free, so that new versions of a row
-- fit beside the old ones and the index is not touched.
create table balances (
    user_id            text collate "C" primary key,
    -- From the participant's own referrals.
    direct_total_minor bigint  not null default 0,
    direct_count       integer not null default 0,
    -- From referrals of those referees.
    upline_total_minor bigint  not null default 0,
    upline_count       integer not null default 0,
    total_minor        bigint  not null default 0,
    balance_minor      bigint  not null default 0
) with (fillfactor = 50);

create table purchases (
    purchase_id   text collate "C" primary key,
    buyer_user_id text collate "C" not null,
    amount_minor  bigint           not null,
    recorded_at   timestamptz      not null default now(),
    -- The payload of the engine's PurchaseRecorded.
    payload       jsonb            not null
);

create table entries (
    user_id      text collate "C" not null,
    -- Number among the rewards of the earner: 1, 2, 3, ...
    number       integer          not null,
    amount_minor bigint           not null,
    recorded_at  timestamptz      not null default now(),
    -- The payload of the engine's RewardGranted.
    payload      jsonb            not null,
    primary key (user_id, number)
);
