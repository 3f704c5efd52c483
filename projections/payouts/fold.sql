merge into {table} as known
using (
    select step.payout,
        max(position) as last_position,
        max(position) filter (where event_type = 'PayoutCreated') as created_position,
        max(payload ->> 'unit') filter (where event_type = 'PayoutCreated') as unit,
        max((payload ->> 'minimum_minor')::bigint) filter (where event_type = 'PayoutCreated') as minimum_minor,
        max(metadata ->> 'actor') filter (where event_type = 'PayoutCreated') as created_by,
        max(recorded_at) filter (where event_type = 'PayoutCreated') as create_time,
        max(recorded_at) filter (where event_type = 'PayoutCollected') as collect_time,
        max(case event_type when 'PayoutConfirmationStarted' then 'confirming' when 'PayoutFailureStarted' then 'failing' end)
            as started,
        max(payload ->> 'provider_reference') filter (
            where event_type in ('PayoutConfirmationStarted', 'PayoutFailureStarted')) as provider_reference,
        max(payload ->> 'reason_code') filter (where event_type = 'PayoutFailureStarted') as reason_code,
        bool_or(event_type = 'PayoutCompleted') as is_completed,
        count(*) filter (where event_type = 'PayoutLineSkipped') as skipped,
        count(*) filter (where event_type = 'PayoutLineReserved') as made,
        count(*) filter (where event_type = 'PayoutLinePaid') as paid,
        count(*) filter (where event_type = 'PayoutLineFailed') as failed,
        count(*) filter (where event_type = 'PayoutLineReturned') as returned,
        coalesce(sum(step.amount) filter (where event_type = 'PayoutLineReserved'), 0) as made_minor,
        coalesce(sum(step.amount) filter (where event_type = 'PayoutLinePaid'), 0) as paid_minor,
        coalesce(sum(step.amount) filter (where event_type = 'PayoutLineFailed'), 0) as failed_minor,
        coalesce(sum(step.amount) filter (where event_type = 'PayoutLineReturned'), 0) as returned_minor
    from events
    cross join lateral (
        -- The first two parts of the id of a line are that of the payout.
        select split_part(aggregate_id, '/', 1) || '/' || split_part(aggregate_id, '/', 2) as payout,
            (payload ->> 'amount_minor')::bigint as amount
    ) as step
    where position > $1 and position <= $2
        and event_type in (
            'PayoutCreated', 'PayoutCollected', 'PayoutConfirmationStarted', 'PayoutFailureStarted', 'PayoutCompleted',
            'PayoutLineSkipped', 'PayoutLineReserved', 'PayoutLinePaid', 'PayoutLineFailed', 'PayoutLineReturned')
    group by step.payout
) as change
on known.payout = change.payout
when matched then update set
    last_position = change.last_position,
    -- A payout goes through its states in one order.
    state = case
        when change.is_completed then
            case coalesce(change.started, known.state) when 'failing' then 'failed' else 'confirmed' end
        when change.started is not null then change.started
        when change.collect_time is not null then 'open'
        else known.state
    end,
    collect_time = coalesce(change.collect_time, known.collect_time),
    provider_reference = coalesce(change.provider_reference, known.provider_reference),
    reason_code = coalesce(change.reason_code, known.reason_code),
    skipped_count = known.skipped_count + change.skipped,
    reserved_count = known.reserved_count + change.made - change.paid - change.failed,
    reserved_minor = known.reserved_minor + change.made_minor - change.paid_minor - change.failed_minor,
    paid_count = known.paid_count + change.paid - change.returned,
    paid_minor = known.paid_minor + change.paid_minor - change.returned_minor,
    failed_count = known.failed_count + change.failed,
    failed_minor = known.failed_minor + change.failed_minor,
    returned_count = known.returned_count + change.returned,
    returned_minor = known.returned_minor + change.returned_minor
when not matched then insert (
    payout, last_position, created_position, program_id, state, unit, minimum_minor, created_by, create_time,
    collect_time, provider_reference, reason_code, skipped_count, reserved_count, reserved_minor, paid_count, paid_minor,
    failed_count, failed_minor, returned_count, returned_minor)
values (
    change.payout, change.last_position, change.created_position, split_part(change.payout, '/', 1),
    case
        when change.is_completed then case change.started when 'failing' then 'failed' else 'confirmed' end
        when change.started is not null then change.started
        when change.collect_time is not null then 'open'
        else 'collecting'
    end,
    change.unit, change.minimum_minor, coalesce(change.created_by, ''), change.create_time, change.collect_time,
    change.provider_reference, change.reason_code, change.skipped, change.made - change.paid - change.failed,
    change.made_minor - change.paid_minor - change.failed_minor, change.paid - change.returned,
    change.paid_minor - change.returned_minor, change.failed, change.failed_minor, change.returned,
    change.returned_minor)
