-- Which tiers people were shown that they had reached, so that each is celebrated once: in whatever browser, by whatever
-- server, and also if it was reached while they were away. No event: nothing follows from it.
create table seen_tiers (
    user_id    text        collate "C" not null,
    program_id text        collate "C" not null,
    -- The name of the tier. What is below a tier that was shown counts as shown, too.
    tier       text        not null,
    seen_at    timestamptz not null default clock_timestamp(),
    primary key (user_id, program_id, tier)
);
