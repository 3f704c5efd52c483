-- Referrals and conversions of a program day by day: $1 program, $2 first day, $3 the day after the last,
-- in days since 1970.
select {position} as position, day.day - 'epoch'::date as day, day.referral_count, day.converted_count,
    day.purchase_count, day.purchase_time_us::text as purchase_time_us, day.conversion_count
from (select) as one
left join lateral (
    select * from {conversion_days}
    where program_id = $1 and day >= 'epoch'::date + $2::integer and day < 'epoch'::date + $3::integer
) as day on true
order by day.day
