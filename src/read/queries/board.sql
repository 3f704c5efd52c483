-- All participants of a program with the numbers that leaderboards count, in the order of registration: $1
-- program.
select {position} as position, participant.*
from (select) as one
left join lateral (
    select user_id, earned_minor, pending_count + converted_count as referral_count, converted_count
    from {participants} where program_id = $1 and enrolled_position > 0
    order by enrolled_position
) as participant on true
