-- Lots that expire: parts of what is available that are lost at a moment. The reaction `expiries` inserts two rows for
-- each lot of a participant: one for the mail that announces its end, and one for the end. A row is deleted when that
-- has been done. Times are in microseconds since 1970, as in events.
create table expirations (
    program_id      text collate "C" not null,
    user_id         text collate "C" not null,
    -- When the lot expires.
    expire_time_us  bigint  not null,
    -- Whether the end is to be announced; else the lot is to expire.
    is_announcement boolean not null,
    -- When to try: at that time or, to announce it, a week before; later if an attempt has failed.
    due_time_us     bigint  not null,
    -- The number of attempts that failed.
    attempts        integer not null default 0,
    primary key (program_id, user_id, expire_time_us, is_announcement)
);

create index expirations_due on expirations (due_time_us);
