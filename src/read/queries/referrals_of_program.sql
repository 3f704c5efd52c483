-- Referrals of a whole program, newest first: $1 program, $2 statuses, $3 before this position, $4 limit.
-- Each status has its own index range, so that rare ones are found without scanning all others.
select {position} as position, program.rules ->> 'unit' as unit, referral.*
from (select) as one
left join lateral (
    select rules from {programs} where program_id = $1 limit 1
) as program on true
left join lateral (
    select made.*, 1 as level, brought.total_minor as brought_in_minor, profiles.username,
        profiles.display_name, referrers.username as referrer_username,
        referrers.display_name as referrer_display_name
    from (
        select participant.*
        from unnest($2::text[]) as wanted(status)
        cross join lateral (
            select * from {participants}
            where program_id = $1 and referral_status = wanted.status
                and referral_position > 0 and referral_position < $3
            order by referral_position desc
            limit $4
        ) as participant
        order by referral_position desc
        limit $4
    ) as made
    left join {contributions} as brought
        on brought.program_id = made.program_id and brought.source_user_id = made.user_id
            and brought.level = 1
    left join profiles on profiles.user_id = made.user_id
    left join profiles as referrers on referrers.user_id = made.referrer_user_id
) as referral on true
order by referral.referral_position desc
