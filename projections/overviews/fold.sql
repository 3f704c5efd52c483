merge into {table} as overview
using (
    with fact as (
        select split_part(aggregate_id, '/', 1) as program_id, position, event_type, payload,
            coalesce(payload ->> 'status', 'pending') as status, payload -> 'posting' as posting
        from events
        where position > $1 and position <= $2
            and (event_type in ('ParticipantEnrolled', 'ReferralMade', 'ReferralUpdated')
                or payload ? 'posting')
        union all
        select aggregate_id, position, event_type, payload, null, null
        from events
        where position > $1 and position <= $2 and event_type = 'ProgramPublished'
    ),
    -- Every status change of a referral; at first the old status is null.
    step as (
        select program_id, position, event_type,
            case event_type when 'ReferralUpdated' then payload ->> 'previous_status' end
                as from_status,
            case when event_type in ('ReferralMade', 'ReferralUpdated') then status end
                as to_status,
            posting ->> 'kind' in ('points', 'credit', 'bonus', 'commission') as is_reward,
            posting ->> 'kind' = 'reversal' as is_reversal,
            (posting ->> 'amount')::bigint as amount,
            coalesce((posting -> 'after' ->> 'pending')::bigint, 0) as pending,
            coalesce((posting -> 'after' ->> 'available')::bigint, 0) as available,
            coalesce((posting -> 'after' ->> 'reserved')::bigint, 0) as reserved,
            coalesce(posting ->> 'to', 'available') as to_bucket,
            coalesce(posting ->> 'from', '') as from_bucket
        from fact
    ),
    -- A posting says what each part of the balance is after it. What it was before follows from the amount.
    moved as (
        select *,
            pending - amount * ((to_bucket = 'pending')::integer - (from_bucket = 'pending')::integer)
                as pending_before,
            available - amount * ((to_bucket = 'available')::integer - (from_bucket = 'available')::integer)
                as available_before,
            reserved - amount * ((to_bucket = 'reserved')::integer - (from_bucket = 'reserved')::integer)
                as reserved_before
        from step
    )
    select program_id,
        max(position) as last_position,
        count(*) filter (where event_type = 'ParticipantEnrolled') as registered_count,
        count(*) filter (where event_type = 'ReferralMade') as referred_count,
        count(*) filter (where to_status = 'pending') - count(*) filter (where from_status = 'pending')
            as pending_count,
        count(*) filter (where to_status = 'held') - count(*) filter (where from_status = 'held')
            as held_count,
        count(*) filter (where to_status = 'converted')
            - count(*) filter (where from_status = 'converted') as converted_count,
        count(*) filter (where to_status = 'rejected') - count(*) filter (where from_status = 'rejected')
            as rejected_count,
        count(*) filter (where is_reward) as reward_count,
        coalesce(sum(amount) filter (where is_reward), 0) as granted_minor,
        coalesce(-sum(amount) filter (where is_reversal), 0) as reversed_minor,
        coalesce(sum(greatest(pending, 0) - greatest(pending_before, 0)), 0) as owed_pending_minor,
        coalesce(sum(greatest(available, 0) - greatest(available_before, 0)), 0) as owed_available_minor,
        coalesce(sum(greatest(reserved, 0) - greatest(reserved_before, 0)), 0) as owed_reserved_minor,
        coalesce(sum(
            least(pending_before, 0) - least(pending, 0)
                + least(available_before, 0) - least(available, 0)
                + least(reserved_before, 0) - least(reserved, 0)), 0) as debt_minor
    from moved
    group by program_id
) as change
on overview.program_id = change.program_id
when matched then update set
    last_position = change.last_position,
    registered_count = overview.registered_count + change.registered_count,
    referred_count = overview.referred_count + change.referred_count,
    pending_count = overview.pending_count + change.pending_count,
    held_count = overview.held_count + change.held_count,
    converted_count = overview.converted_count + change.converted_count,
    rejected_count = overview.rejected_count + change.rejected_count,
    reward_count = overview.reward_count + change.reward_count,
    granted_minor = overview.granted_minor + change.granted_minor,
    reversed_minor = overview.reversed_minor + change.reversed_minor,
    owed_pending_minor = overview.owed_pending_minor + change.owed_pending_minor,
    owed_available_minor = overview.owed_available_minor + change.owed_available_minor,
    owed_reserved_minor = overview.owed_reserved_minor + change.owed_reserved_minor,
    debt_minor = overview.debt_minor + change.debt_minor
when not matched then insert (
    program_id, last_position, registered_count, referred_count, pending_count, held_count,
    converted_count, rejected_count, reward_count, granted_minor, reversed_minor, owed_pending_minor,
    owed_available_minor, owed_reserved_minor, debt_minor)
values (
    change.program_id, change.last_position, change.registered_count, change.referred_count,
    change.pending_count, change.held_count, change.converted_count, change.rejected_count,
    change.reward_count, change.granted_minor, change.reversed_minor, change.owed_pending_minor,
    change.owed_available_minor, change.owed_reserved_minor, change.debt_minor)
