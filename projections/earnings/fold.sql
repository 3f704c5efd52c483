merge into {table} as earning
using (
    -- A reward carries the totals that it led to, so the last one says all.
    select distinct on (aggregate_id, level)
        split_part(aggregate_id, '/', 1) as program_id,
        split_part(aggregate_id, '/', 2) as user_id,
        (payload ->> 'level')::integer as level,
        position as last_position,
        (payload ->> 'level_total_minor')::bigint as total_minor,
        (payload ->> 'level_count')::integer as reward_count
    from events
    where position > $1 and position <= $2 and event_type = 'RewardGranted'
    order by aggregate_id, level, position desc
) as change
on earning.program_id = change.program_id and earning.user_id = change.user_id
    and earning.level = change.level
when matched then update set
    last_position = change.last_position,
    total_minor = change.total_minor,
    reward_count = change.reward_count
when not matched then insert (program_id, user_id, level, last_position, total_minor, reward_count)
values (
    change.program_id, change.user_id, change.level, change.last_position, change.total_minor,
    change.reward_count)
