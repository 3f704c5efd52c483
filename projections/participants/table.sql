-- All participants: code, referrer, referrals made, tier, totals, and earnings by level.
create table {table} (
    program_id        text collate "C" not null,
    user_id           text collate "C" not null,
    -- The last event that changed the row.
    last_position     bigint      not null,
    -- The position of the enrollment in the log, which decides ties on leaderboards.
    enrolled_position bigint      not null,
    enroll_time       timestamptz not null,
    code              text        not null,
    is_active         boolean     not null,
    -- The referrer, and the status, the position and the time of the referral; null if the participant was
    -- not referred.
    referrer_user_id  text collate "C",
    referral_status   text collate "C",
    -- Why the referral is held, as in ["review"]; empty if it is not, null if the participant was not referred.
    hold_reasons      jsonb,
    referral_position bigint,
    referral_time     timestamptz,
    -- When the referral converted; null if it has not.
    convert_time      timestamptz,
    -- Number of referrals that the participant made, by status.
    pending_count     integer     not null,
    held_count        integer     not null,
    converted_count   integer     not null,
    -- Number of them that tiers go by where referrals earn (pending or converted), and where purchases earn
    -- (converted): without those that were made, or that converted, when the participant could not earn.
    tier_made_count      integer  not null,
    tier_converted_count integer  not null,
    -- Uses of the participant's code, and direct referrals, that are used up.
    uses              integer     not null,
    -- The last tier reached; null before the first change.
    tier              text,
    -- The number of rewards, their sum without what was taken back, and the balance, in minor units of the program's
    -- unit.
    reward_count      bigint      not null,
    earned_minor      bigint      not null,
    balance_minor     bigint      not null,
    -- For each level with rewards (the distance up the line from the user who caused them) their sum without what was
    -- taken back, and their number, as in {"0": 1000, "2": 15007} and {"0": 1, "2": 3}.
    earned_by_level   jsonb       not null,
    rewards_by_level  jsonb       not null,
    -- The parts and the sums of the balance, as in {"available": 16007, "earned": 16007}, without those that are 0.
    buckets           jsonb       not null,
    primary key (program_id, user_id)
) with (fillfactor = 70);

-- Plans may be made and cached while the table is small, when all indexes look equally good. Each of these
-- indexes has a condition that only its own queries repeat, so that no other query can use it.
create index on {table} (program_id, enrolled_position)
    where enrolled_position > 0;
create index on {table} (program_id, referrer_user_id, referral_status, referral_position)
    where referrer_user_id is not null;
create index on {table} (program_id, referral_status, referral_position)
    where referral_position > 0;
