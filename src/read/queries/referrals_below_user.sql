-- Referrals below one participant, on several levels, newest first: $1 program, $2 statuses, $3 before this
-- position, $4 limit, $5 user, $6 levels, $7 the maximum number of participants to examine.
with recursive below (user_id, level) as (
    select user_id, 1 from {participants} where program_id = $1 and referrer_user_id = $5
    union all
    select referee.user_id, below.level + 1
    from below
    cross join lateral (
        -- The limit also keeps the planner from turning the look-up into a join, whose plan would be made
        -- while the table is small and then kept.
        select user_id from {participants}
        where program_id = $1 and referrer_user_id = below.user_id
        limit $7 + 1
    ) as referee
    where below.level < $6
), bounded as materialized (
    select * from below limit $7 + 1
)
select {position} as position, program.rules ->> 'unit' as unit,
    (select count(*) from bounded) as visited, referral.*
from (select) as one
left join lateral (
    select rules from {programs} where program_id = $1 limit 1
) as program on true
left join lateral (
    select made.*, brought.total_minor as brought_in_minor, profiles.username,
        profiles.display_name
    from (
        select participant.*, bounded.level
        from bounded
        cross join lateral (
            select * from {participants}
            where program_id = $1 and user_id = bounded.user_id
                and referral_status = any($2) and referral_position < $3
            limit 1
        ) as participant
        order by referral_position desc
        limit $4
    ) as made
    left join {contributions} as brought
        on brought.program_id = made.program_id and brought.source_user_id = made.user_id
            and brought.level = made.level
    left join profiles on profiles.user_id = made.user_id
) as referral on true
order by referral.referral_position desc
