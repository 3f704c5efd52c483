-- What a careful hand would make: a purchase is a row, a reward is a row, and a balance is a number
-- that is kept. Foreign keys are left out: they would cost a lock and a look-up per row, and the
-- engine has none.

-- Who takes part, and who earns from whom: never changes, but for the first purchase.
create table participants (
    user_id             text collate "C" primary key,
    parent_user_id      text collate "C",
    -- Kept beside the parent, so that one row says who earns.
    grandparent_user_id text collate "C",
    -- Whether a purchase of the participant has earned somebody something.
    converted           boolean not null default false
) with (fillfactor = 80);

-- What everybody has earned, in minor units. Half of each page is free, so that new versions of a row
-- find room beside the old ones and the index is left alone.
create table balances (
    user_id            text collate "C" primary key,
    -- From own referrals.
    direct_total_minor bigint  not null default 0,
    direct_count       integer not null default 0,
    -- From referrals of those.
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
    -- What the engine's PurchaseRecorded says.
    payload       jsonb            not null
);

create table entries (
    user_id      text collate "C" not null,
    -- Place among the rewards of the earner: 1, 2, 3, ...
    number       integer          not null,
    amount_minor bigint           not null,
    recorded_at  timestamptz      not null default now(),
    -- What the engine's RewardGranted says.
    payload      jsonb            not null,
    primary key (user_id, number)
);
