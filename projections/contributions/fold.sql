merge into {table} as contribution
using (
    -- Every event that moves money because of a user's sign-up or purchase contains that user and the level. What
    -- moves from one part of a balance to another is no contribution.
    select split_part(aggregate_id, '/', 1) as program_id,
        payload ->> 'source_user_id' as source_user_id,
        (payload ->> 'level')::integer as level,
        max(position) as last_position,
        sum((payload -> 'posting' ->> 'amount')::bigint)::bigint as total_minor
    from events
    where position > $1 and position <= $2 and payload ? 'posting' and payload ? 'source_user_id'
        and not payload -> 'posting' ? 'from'
    group by 1, 2, 3
) as change
on contribution.program_id = change.program_id
    and contribution.source_user_id = change.source_user_id
    and contribution.level = change.level
when matched then update set
    last_position = change.last_position,
    total_minor = contribution.total_minor + change.total_minor
when not matched then insert (program_id, source_user_id, level, last_position, total_minor)
values (
    change.program_id, change.source_user_id, change.level, change.last_position,
    change.total_minor)
