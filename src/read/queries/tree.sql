-- The participants below a given one, nearest levels first: $1 program, $2 user, $3 levels, $4 limit.
with recursive below (user_id, level) as (
    select $2::text collate "C", 0
    union all
    select referee.user_id, below.level + 1
    from below
    cross join lateral (
        -- Each status has its own index range, in the order of the log.
        select newest.user_id
        from unnest(array['pending', 'held', 'converted', 'rejected']) as wanted(status)
        cross join lateral (
            select user_id, referral_position from {participants}
            where program_id = $1 and referrer_user_id = below.user_id
                and referral_status = wanted.status
            order by referral_position desc
            limit $4
        ) as newest
        order by newest.referral_position desc
        limit $4
    ) as referee
    where below.level < $3
), bounded as materialized (
    select * from below limit $4
)
select {position} as position, program.rules ->> 'unit' as unit, node.*
from (select) as one
left join lateral (
    select rules from {programs} where program_id = $1 limit 1
) as program on true
left join lateral (
    select participant.*, bounded.level, brought.total_minor as brought_in_minor, profiles.username,
        profiles.display_name
    from bounded
    cross join lateral (
        select * from {participants} where program_id = $1 and user_id = bounded.user_id limit 1
    ) as participant
    left join {contributions} as brought
        on brought.program_id = participant.program_id
            and brought.source_user_id = participant.user_id and brought.level = bounded.level
            and bounded.level > 0
    left join profiles on profiles.user_id = participant.user_id
) as node on true
order by node.level, node.referral_position desc
