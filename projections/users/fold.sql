merge into {table} as known
using (
    select aggregate_id as user_id,
        max(position) as last_position,
        max(position) filter (where event_type = 'UserRegistered') as registered_position,
        'epoch'::timestamptz + interval '1 microsecond'
            * max((payload ->> 'register_time_us')::bigint) filter (where event_type = 'UserRegistered')
            as register_time,
        -- Of several changes the last is used: the greatest pair of position and value.
        (max(array[position, (event_type = 'UserReactivated')::integer]) filter (
            where event_type in ('UserDeactivated', 'UserReactivated', 'UserErased')))[2] = 1 as is_active,
        count(*) filter (where event_type = 'UserErased') > 0 as is_erased
    from events
    where position > $1 and position <= $2
        and event_type in ('UserRegistered', 'UserDeactivated', 'UserReactivated', 'UserErased')
    group by aggregate_id
) as change
on known.user_id = change.user_id
when matched then update set
    last_position = change.last_position,
    is_active = coalesce(change.is_active, known.is_active),
    is_erased = known.is_erased or change.is_erased
when not matched then insert (
    user_id, last_position, registered_position, register_time, is_active, is_erased)
values (
    change.user_id, change.last_position, change.registered_position, change.register_time,
    coalesce(change.is_active, true), change.is_erased)
