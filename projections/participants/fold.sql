merge into {table} as participant
using (
    with fact as (
        select split_part(aggregate_id, '/', 1) as program_id,
            substr(aggregate_id, strpos(aggregate_id, '/') + 1) as user_id,
            position, recorded_at, event_type, payload, payload -> 'posting' as posting,
            payload -> 'posting' -> 'after' as buckets,
            coalesce(payload ->> 'status', 'pending') as status
        from events
        where position > $1 and position <= $2 and aggregate_type = 'Participant'
            and (event_type in (
                    'ParticipantEnrolled', 'ReferralApplied', 'ReferralStandingChanged', 'ReferralMade',
                    'ReferralUpdated', 'ReferralConverted', 'ReferralUnconverted', 'TierChanged', 'ParticipantDeactivated',
                    'ParticipantReactivated', 'ParticipantErased')
                or payload ? 'posting')
    ),
    step as (
        select *,
            case event_type when 'ReferralUpdated' then payload ->> 'previous_status' end
                as from_status,
            case when event_type in ('ReferralMade', 'ReferralUpdated') then status end
                as to_status,
            case
                when event_type in ('ReferralApplied', 'ReferralStandingChanged', 'ReferralUnconverted') then status
                when event_type = 'ReferralConverted' then 'converted'
            end as own_status,
            not payload ? 'made_while_inactive' as is_made_for_tiers,
            not (payload ? 'made_while_inactive' or payload ? 'converted_while_inactive')
                as is_converted_for_tiers,
            coalesce((buckets ->> 'earned')::bigint, 0)
                - coalesce((buckets ->> 'reversed')::bigint, 0) as earned,
            coalesce((buckets ->> 'pending')::bigint, 0)
                + coalesce((buckets ->> 'available')::bigint, 0)
                + coalesce((buckets ->> 'reserved')::bigint, 0) as balance
        from fact
    )
    -- Of values that replace each other the last is used: the greatest pair of position and value. For the
    -- totals of a level and the buckets, the last one aggregated is used, so they are aggregated in order.
    select program_id, user_id,
        max(position) as last_position,
        max(position) filter (where event_type = 'ParticipantEnrolled') as enrolled_position,
        max(recorded_at) filter (where event_type = 'ParticipantEnrolled') as enroll_time,
        max(payload ->> 'code') filter (where event_type = 'ParticipantEnrolled') as code,
        (max(array[position, (event_type = 'ParticipantReactivated')::integer]) filter (
            where event_type in ('ParticipantDeactivated', 'ParticipantReactivated', 'ParticipantErased')))[2] = 1
            as is_active,
        max(payload ->> 'referrer_user_id') filter (where event_type = 'ReferralApplied')
            as referrer_user_id,
        (max(array[to_char(position, 'FM0000000000000000000'), own_status]) filter (
            where own_status is not null))[2] as referral_status,
        (max(array[to_char(position, 'FM0000000000000000000'), coalesce(payload ->> 'hold_reasons', '[]')])
            filter (where own_status is not null))[2]::jsonb as hold_reasons,
        max(position) filter (where event_type = 'ReferralApplied') as referral_position,
        'epoch'::timestamptz + interval '1 microsecond'
            * max((payload ->> 'referral_time_us')::bigint) filter (where event_type = 'ReferralApplied')
            as referral_time,
        max(recorded_at) filter (where event_type = 'ReferralConverted') as convert_time,
        -- Null if nothing of the kind happened.
        (max(array[position, (event_type = 'ReferralUnconverted')::integer]) filter (
            where event_type in ('ReferralConverted', 'ReferralUnconverted')))[2] = 1 as is_unconverted,
        count(*) filter (where to_status = 'pending') - count(*) filter (where from_status = 'pending')
            as pending_count,
        count(*) filter (where to_status = 'held') - count(*) filter (where from_status = 'held')
            as held_count,
        count(*) filter (where to_status = 'converted')
            - count(*) filter (where from_status = 'converted') as converted_count,
        count(*) filter (where to_status in ('pending', 'converted') and is_made_for_tiers)
            - count(*) filter (where from_status in ('pending', 'converted') and is_made_for_tiers)
            as tier_made_count,
        count(*) filter (where to_status = 'converted' and is_converted_for_tiers)
            - count(*) filter (where from_status = 'converted' and is_converted_for_tiers)
            as tier_converted_count,
        count(*) filter (where to_status <> 'rejected') - count(*) filter (where from_status <> 'rejected')
            as uses,
        (max(array[to_char(position, 'FM0000000000000000000'), payload ->> 'to_tier']) filter (
            where event_type = 'TierChanged'))[2] as tier,
        count(*) filter (where posting ->> 'kind' in ('points', 'credit', 'bonus', 'commission'))
            as reward_count,
        (max(array[position, earned]) filter (where posting is not null))[2] as earned_minor,
        (max(array[position, balance]) filter (where posting is not null))[2] as balance_minor,
        (array_agg(buckets) filter (where posting is not null))[
            count(*) filter (where posting is not null)] as buckets,
        -- Rewards, and what is taken back of them; not what moves from one part of the balance to another.
        coalesce(
            jsonb_object_agg(
                payload ->> 'level', coalesce((payload ->> 'level_total_minor')::bigint, earned))
                filter (where posting is not null and payload ? 'level' and not posting ? 'from'),
            '{}') as earned_by_level,
        coalesce(
            jsonb_object_agg(payload ->> 'level', payload -> 'level_count')
                filter (where posting is not null and payload ? 'level_count'),
            '{}') as rewards_by_level
    from (select * from step order by program_id, user_id, position) as step
    group by program_id, user_id
) as change
on participant.program_id = change.program_id and participant.user_id = change.user_id
when matched then update set
    last_position = change.last_position,
    is_active = coalesce(change.is_active, participant.is_active),
    referrer_user_id = coalesce(change.referrer_user_id, participant.referrer_user_id),
    referral_status = coalesce(change.referral_status, participant.referral_status),
    hold_reasons = coalesce(change.hold_reasons, participant.hold_reasons),
    referral_position = coalesce(change.referral_position, participant.referral_position),
    referral_time = coalesce(change.referral_time, participant.referral_time),
    convert_time = case
        when change.is_unconverted then null
        else coalesce(change.convert_time, participant.convert_time) end,
    pending_count = participant.pending_count + change.pending_count,
    held_count = participant.held_count + change.held_count,
    converted_count = participant.converted_count + change.converted_count,
    tier_made_count = participant.tier_made_count + change.tier_made_count,
    tier_converted_count = participant.tier_converted_count + change.tier_converted_count,
    uses = participant.uses + change.uses,
    tier = coalesce(change.tier, participant.tier),
    reward_count = participant.reward_count + change.reward_count,
    earned_minor = coalesce(change.earned_minor, participant.earned_minor),
    balance_minor = coalesce(change.balance_minor, participant.balance_minor),
    earned_by_level = participant.earned_by_level || change.earned_by_level,
    rewards_by_level = participant.rewards_by_level || change.rewards_by_level,
    buckets = coalesce(change.buckets, participant.buckets)
-- The first event of a participant is the enrollment, so no required value can be missing.
when not matched then insert (
    program_id, user_id, last_position, enrolled_position, enroll_time, code, is_active,
    referrer_user_id, referral_status, hold_reasons, referral_position, referral_time, convert_time,
    pending_count, held_count, converted_count, tier_made_count, tier_converted_count, uses, tier,
    reward_count, earned_minor, balance_minor, earned_by_level, rewards_by_level, buckets)
values (
    change.program_id, change.user_id, change.last_position, change.enrolled_position,
    change.enroll_time, change.code, coalesce(change.is_active, true),
    change.referrer_user_id, change.referral_status, change.hold_reasons, change.referral_position, change.referral_time,
    case when not change.is_unconverted then change.convert_time end, change.pending_count, change.held_count, change.converted_count,
    change.tier_made_count, change.tier_converted_count, change.uses, change.tier,
    change.reward_count, coalesce(change.earned_minor, 0), coalesce(change.balance_minor, 0),
    change.earned_by_level, change.rewards_by_level, coalesce(change.buckets, '{}'))
