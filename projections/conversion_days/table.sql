-- The outcome of the referrals of each day, and the number of conversions on it. Conversions that were undone count
-- nowhere. Days are UTC.
create table {table} (
    program_id       text collate "C" not null,
    day              date    not null,
    -- The last event that changed the row.
    last_position    bigint  not null,
    -- Referrals made that day that count, and how many of those have converted so far.
    referral_count   integer not null,
    converted_count  integer not null,
    -- How many of those a purchase converted, and the sum of the times from referral to purchase, in
    -- microseconds.
    purchase_count   integer not null,
    purchase_time_us numeric not null,
    -- Conversions that happened that day, whenever the referral was made.
    conversion_count integer not null,
    primary key (program_id, day)
) with (fillfactor = 50);
