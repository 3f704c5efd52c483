-- Users of one program, newest first: $1 before this position, $2 limit, $3 program.
select {position} as position, program.rules ->> 'unit' as unit,
    program.rules ->> 'base_url' as base_url, enrolled.*
from (select) as one
left join lateral (
    select rules from {programs} where program_id = $3 limit 1
) as program on true
left join lateral (
    -- One model may know the participant before the other knows the user.
    select page.*, coalesce(registered.register_time, page.enroll_time) as register_time,
        coalesce(registered.is_erased, false) as is_erased, profiles.username, profiles.display_name,
        referrers.username as referrer_username, referrers.display_name as referrer_display_name
    from (
        select * from {participants} where program_id = $3 and enrolled_position > 0 and enrolled_position < $1
        order by enrolled_position desc
        limit $2
    ) as page
    left join {users} as registered on registered.user_id = page.user_id
    left join profiles on profiles.user_id = page.user_id
    left join profiles as referrers on referrers.user_id = page.referrer_user_id
) as enrolled on true
order by enrolled.enrolled_position desc
