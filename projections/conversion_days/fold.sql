merge into {table} as known
using (
    with run as materialized (
        select position, recorded_at, event_type, aggregate_id, sequence, payload,
            split_part(aggregate_id, '/', 1) as program_id
        from events
        where position > $1 and position <= $2
            and event_type in (
                'ReferralApplied', 'ReferralStandingChanged', 'ReferralConverted', 'ReferralUnconverted')
    ),
    -- A referral that was held or rejected from the beginning is counted once it is released for the first time, on the
    -- day on which it was made.
    counted as (
        select program_id, position, (payload ->> 'referral_time_us')::bigint as referral_time_us
        from run
        where event_type = 'ReferralApplied' and not payload ? 'status'
        union all
        select run.program_id, run.position, (referral.payload ->> 'referral_time_us')::bigint
        from run
        cross join lateral (
            select payload from events
            where aggregate_type = 'Participant' and aggregate_id = run.aggregate_id
                and sequence < run.sequence and event_type = 'ReferralApplied'
            order by sequence
            limit 1
        ) as referral
        where run.event_type = 'ReferralStandingChanged' and run.payload ? 'release_time_us'
            and referral.payload ? 'status'
            and not exists (
                select from events as earlier
                where earlier.aggregate_type = 'Participant' and earlier.aggregate_id = run.aggregate_id
                    and earlier.sequence < run.sequence and earlier.event_type = 'ReferralStandingChanged'
                    and earlier.payload ? 'release_time_us'
            )
    ),
    -- A conversion that is undone is taken off the days on which it was counted.
    conversion as (
        select run.program_id, run.position, converted.recorded_at,
            case run.event_type when 'ReferralConverted' then 1 else -1 end as change,
            (referral.payload ->> 'referral_time_us')::bigint as referral_time_us,
            (purchase.payload ->> 'purchase_time_us')::bigint as purchase_time_us
        from run
        cross join lateral (
            select recorded_at, payload from events
            where aggregate_type = 'Participant' and aggregate_id = run.aggregate_id
                and sequence <= run.sequence and event_type = 'ReferralConverted'
            order by sequence desc
            limit 1
        ) as converted
        cross join lateral (
            select payload from events
            where aggregate_type = 'Participant' and aggregate_id = run.aggregate_id
                and sequence < run.sequence and event_type = 'ReferralApplied'
            order by sequence
            limit 1
        ) as referral
        left join lateral (
            select payload from events
            where aggregate_type = 'Purchase' and aggregate_id = converted.payload ->> 'purchase_id'
                and sequence = 1
            limit 1
        ) as purchase on true
        where run.event_type in ('ReferralConverted', 'ReferralUnconverted')
    ),
    fact as (
        select program_id, position,
            'epoch'::timestamp + interval '1 microsecond' * referral_time_us as moment,
            1 as referrals, 0 as converted, 0 as purchases, 0::bigint as time_us, 0 as conversions
        from counted
        union all
        select program_id, position,
            'epoch'::timestamp + interval '1 microsecond' * referral_time_us,
            0, change, change * (purchase_time_us is not null)::integer,
            change * coalesce(greatest(purchase_time_us - referral_time_us, 0), 0), 0
        from conversion
        union all
        select program_id, position, recorded_at at time zone 'UTC', 0, 0, 0, 0, change
        from conversion
    )
    select program_id, moment::date as day,
        max(position) as last_position,
        sum(referrals) as referral_count,
        sum(converted) as converted_count,
        sum(purchases) as purchase_count,
        sum(time_us) as purchase_time_us,
        sum(conversions) as conversion_count
    from fact
    group by program_id, day
) as change
on known.program_id = change.program_id and known.day = change.day
when matched then update set
    last_position = change.last_position,
    referral_count = known.referral_count + change.referral_count,
    converted_count = known.converted_count + change.converted_count,
    purchase_count = known.purchase_count + change.purchase_count,
    purchase_time_us = known.purchase_time_us + change.purchase_time_us,
    conversion_count = known.conversion_count + change.conversion_count
when not matched then insert (
    program_id, day, last_position, referral_count, converted_count, purchase_count,
    purchase_time_us, conversion_count)
values (
    change.program_id, change.day, change.last_position, change.referral_count,
    change.converted_count, change.purchase_count, change.purchase_time_us,
    change.conversion_count)
