merge into {table} as known
using (
    select aggregate_id,
        split_part(aggregate_id, '/', 1) || '/' || split_part(aggregate_id, '/', 2) as payout,
        -- The id of the user may have slashes.
        substr(aggregate_id,
            length(split_part(aggregate_id, '/', 1)) + length(split_part(aggregate_id, '/', 2)) + 3) as user_id,
        max(position) as last_position,
        (array_agg(case event_type
            when 'PayoutLineSkipped' then 'skipped' when 'PayoutLineReserved' then 'reserved'
            when 'PayoutLinePaid' then 'paid' when 'PayoutLineFailed' then 'failed' else 'returned' end
            order by position desc))[1] as state,
        -- Every step but a skip has the amount.
        coalesce(max((payload ->> 'amount_minor')::bigint), 0) as amount_minor,
        max((payload ->> 'available_then_minor')::bigint) as available_then_minor,
        max(payload ->> 'reason') as skip_reason,
        (array_agg(payload ->> 'reason_code' order by position desc) filter (where payload ? 'reason_code'))[1]
            as reason_code,
        (array_agg(payload ->> 'provider_reference' order by position desc)
            filter (where payload ? 'provider_reference'))[1] as provider_reference,
        min(recorded_at) as create_time,
        max(recorded_at) as change_time
    from events
    where position > $1 and position <= $2
        and event_type in (
            'PayoutLineSkipped', 'PayoutLineReserved', 'PayoutLinePaid', 'PayoutLineFailed', 'PayoutLineReturned')
    group by aggregate_id
) as change
on known.payout = change.payout and known.user_id = change.user_id
when matched then update set
    last_position = change.last_position,
    state = change.state,
    reason_code = coalesce(change.reason_code, known.reason_code),
    provider_reference = coalesce(change.provider_reference, known.provider_reference),
    change_time = change.change_time
when not matched then insert (
    payout, user_id, last_position, state, amount_minor, available_then_minor, skip_reason, reason_code,
    provider_reference, create_time, change_time)
values (
    change.payout, change.user_id, change.last_position, change.state, change.amount_minor,
    change.available_then_minor, change.skip_reason, change.reason_code, change.provider_reference,
    change.create_time, change.change_time)
