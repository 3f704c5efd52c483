-- The referrals of a program in a range of the log, oldest first: $1 after this position, $2 up to this one, $3 the program
-- and a slash, $4 limit.
select event.position as made_position, substr(event.aggregate_id, length($3) + 1) as user_id,
    event.payload ->> 'referrer_user_id' as referrer_user_id,
    (event.payload ->> 'referral_time_us')::bigint as refer_time_us
from events as event
where event.position > $1 and event.position <= $2
    and event.aggregate_type = 'Participant' and event.event_type = 'ReferralApplied'
    and starts_with(event.aggregate_id, $3)
order by event.position
limit $4
