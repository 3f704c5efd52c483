-- Everybody of a program with what leaderboards count, in the order of registration: $1 program.
select {position} as position, program.rules, participant.*
from (select) as one
left join lateral (
    select rules::text as rules from {programs} where program_id = $1 limit 1
) as program on true
left join lateral (
    select user_id, enrolled_position, earned_minor,
        pending_count + converted_count as referral_count, converted_count
    from {participants} where program_id = $1
) as participant on true
order by participant.enrolled_position
