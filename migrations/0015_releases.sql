-- Hold periods that end: rewards that wait until a moment, after which they are available. The reaction `releases`
-- inserts a row for each moment at which rewards of a purchase or a referral become due; a row is deleted when the
-- command has been carried out. Times are in microseconds since 1970, as in events.
create table releases (
    program_id      text collate "C" not null,
    -- Whose purchase or referral earned the rewards.
    source_user_id  text collate "C" not null,
    -- The purchase; empty if the referral itself earned.
    purchase_id     text collate "C" not null,
    -- When the hold period ends.
    release_time_us bigint  not null,
    -- When to try: at that time, or later if an attempt has failed.
    due_time_us     bigint  not null,
    -- The number of attempts that failed.
    attempts        integer not null default 0,
    primary key (purchase_id, program_id, source_user_id, release_time_us)
);

create index releases_due on releases (due_time_us);
