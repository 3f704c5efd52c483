-- What was decided about the flags of referrals: $1 the program, $2 the referees.
select {position} as position, flag.flag_id, flag.referee_user_id, flag.decision
from (select) as one
left join lateral (
    select of.flag_id, of.referee_user_id, of.decision from {fraud_flags} as of
    where of.program_id = $1 and of.referee_user_id = any($2)
    order by of.raised_position
) as flag on true
