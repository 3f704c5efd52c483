-- The standing of one participant, and the rules of the program: $1 program, $2 user.
select {position} as position, program.version, program.rules::text as rules,
    participant.*, profile.username, profile.display_name, earned.levels, earned.totals, earned.counts
from (select) as one
left join lateral (
    select version, rules from {programs} where program_id = $1 limit 1
) as program on true
left join lateral (
    select * from {participants} where program_id = $1 and user_id = $2 limit 1
) as participant on true
left join lateral (
    select username, display_name from profiles where user_id = $2 limit 1
) as profile on true
left join lateral (
    select array_agg(level order by level) as levels,
        array_agg(total_minor order by level) as totals,
        array_agg(reward_count order by level) as counts
    from (
        select key::integer as level, value::bigint as total_minor,
            coalesce((participant.rewards_by_level ->> key)::bigint, 0) as reward_count
        from jsonb_each_text(participant.earned_by_level)
    ) as by_level
) as earned on true
