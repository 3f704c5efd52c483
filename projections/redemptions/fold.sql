merge into {table} as known
using (
    select aggregate_id as redemption,
        max(position) as last_position,
        max(position) filter (where event_type = 'RedemptionMade') as made_position,
        (array_agg(payload) filter (where event_type = 'RedemptionMade'))[1] as made,
        max(recorded_at) filter (where event_type = 'RedemptionMade') as redeem_time,
        -- It ends once.
        max(case event_type when 'RedemptionFulfilled' then 'fulfilled' when 'RedemptionCancelled' then 'cancelled' end)
            as ended,
        max(recorded_at) filter (where event_type <> 'RedemptionMade') as end_time
    from events
    where position > $1 and position <= $2
        and event_type in ('RedemptionMade', 'RedemptionFulfilled', 'RedemptionCancelled')
    group by aggregate_id
) as change
on known.redemption = change.redemption
when matched then update set
    last_position = change.last_position,
    state = coalesce(change.ended, known.state),
    end_time = coalesce(change.end_time, known.end_time)
when not matched then insert (
    redemption, last_position, made_position, program_id, user_id, item_id, item_version, cost_minor, unit, state,
    redeem_time, end_time)
values (
    change.redemption, change.last_position, change.made_position,
    -- The first slash ends the program.
    split_part(change.redemption, '/', 1),
    change.made ->> 'user_id', change.made ->> 'item_id', (change.made ->> 'item_version')::integer,
    (change.made ->> 'cost_minor')::bigint, change.made ->> 'unit', coalesce(change.ended, 'made'),
    change.redeem_time, change.end_time)
