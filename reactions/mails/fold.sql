-- The mails that events call for. Each occasion has one job: its key is made of the kind of mail, ids, and the
-- position of the event. What was imported is history that nobody need be told.
--
-- A mail belongs to a program, and is queued if the program's rules said so at the time of the event. A registration
-- outside of all programs is welcomed too.
--
-- Refunds and decisions undo and redo what mails celebrate. Nobody is told again of a referral, of its conversion or of
-- a tier that they were told of, or would have been if the program had sent mails then. That is read from the log,
-- because jobs are deleted some time after they are done.
with occasions as materialized (
    -- The few events that can call for a mail, each with the bounds of its command.
    select event.position, event.aggregate_id, event.sequence, event.event_type, event.payload,
        command.first, command.last, command.door
    from events as event
    cross join lateral (
        select start.position as first,
            start.position + (start.metadata ->> 'command_events')::bigint - 1 as last,
            start.metadata ->> 'door' as door
        from events as start
        where start.position > $1 and start.position <= event.position and start.metadata ? 'command_events'
        order by start.position desc
        limit 1
    ) as command
    where event.position > $1 and event.position <= $2
        and event.event_type in
            ('UserRegistered', 'ReferralMade', 'ReferralUpdated', 'ReferralConverted', 'TierChanged',
                'RewardReversed', 'RewardMoved')
        and command.door is distinct from 'import'
), in_programs as materialized (
    -- What happened to participants of programs that send mails. The id of a participant is `program/user`.
    select occasion.*, id.program_id, substr(occasion.aggregate_id, length(id.program_id) + 2) as user_id,
        version.rules
    from occasions as occasion
    cross join lateral (select split_part(occasion.aggregate_id, '/', 1) as program_id) as id
    cross join lateral (
        select published.payload -> 'rules' as rules
        from events as published
        where published.aggregate_type = 'Program' and published.aggregate_id = id.program_id
            and published.position <= occasion.position
        order by published.sequence desc
        limit 1
    ) as version
    where occasion.event_type <> 'UserRegistered' and (version.rules ->> 'mails')::boolean
), welcomes as (
    select occasion.position, 'welcome' as kind, occasion.aggregate_id as user_id,
        'welcome/' || occasion.aggregate_id || '/' || occasion.position as occasion,
        jsonb_build_object('program_ids', coalesce(enrolled.program_ids, '[]')) as facts
    from occasions as occasion
    cross join lateral (
        -- How many programs the registration entered, and which of them send mails.
        select count(*) as programs,
            jsonb_agg(id.program_id order by event.position)
                filter (where (version.rules ->> 'mails')::boolean) as program_ids
        from events as event
        cross join lateral (select split_part(event.aggregate_id, '/', 1) as program_id) as id
        cross join lateral (
            select published.payload -> 'rules' as rules
            from events as published
            where published.aggregate_type = 'Program' and published.aggregate_id = id.program_id
                and published.position <= event.position
            order by published.sequence desc
            limit 1
        ) as version
        where event.position between occasion.first and occasion.last
            and event.event_type = 'ParticipantEnrolled'
    ) as enrolled
    where occasion.event_type = 'UserRegistered' and (enrolled.programs = 0 or enrolled.program_ids is not null)
), referrals as (
    -- To the referrer: a referral that counted when it was made, or was released.
    select made.position, 'referral' as kind, made.user_id,
        'referral/' || made.aggregate_id || '/' || made.position as occasion,
        jsonb_build_object(
            'program_id', made.program_id,
            'referee_user_id', made.payload ->> 'referee_user_id'
        ) as facts
    from in_programs as made
    where (
            made.event_type = 'ReferralMade' and coalesce(made.payload ->> 'status', 'pending') = 'pending'
            or made.event_type = 'ReferralUpdated' and made.payload ->> 'previous_status' in ('held', 'rejected')
                and made.payload ->> 'status' in ('pending', 'converted')
        )
        -- If the referral converts at once and pays the referrer, the mail about the conversion is enough.
        and not exists (
            select from events as reward
            where reward.position between made.first and made.last
                and reward.event_type = 'RewardGranted' and reward.aggregate_id = made.aggregate_id
                and reward.payload ->> 'source_user_id' = made.payload ->> 'referee_user_id'
        )
        -- A referral that is rejected and released again has counted before, unless it was held all the time.
        and (made.event_type = 'ReferralMade' or not exists (
            select from events as before
            where before.aggregate_type = 'Participant' and before.aggregate_id = made.aggregate_id
                and before.sequence < made.sequence
                and before.event_type in ('ReferralMade', 'ReferralUpdated')
                and before.payload ->> 'referee_user_id' = made.payload ->> 'referee_user_id'
                and coalesce(before.payload ->> 'status', 'pending') in ('pending', 'converted')
        ))
), conversions as (
    -- To everyone whom a conversion pays, the referee too: one mail, however many rewards it is made of.
    select min(reward.position) as position, 'conversion' as kind,
        substr(reward.aggregate_id, length(converted.program_id) + 2) as user_id,
        'conversion/' || reward.aggregate_id || '/' || converted.position as occasion,
        jsonb_build_object(
            'program_id', converted.program_id,
            'referee_user_id', converted.user_id,
            'reward_positions', jsonb_agg(reward.position order by reward.position)
        ) as facts
    from in_programs as converted
    cross join lateral (
        select reward.position, reward.aggregate_id
        from events as reward
        where reward.position between converted.first and converted.last
            and split_part(reward.aggregate_id, '/', 1) = converted.program_id
            and reward.payload ->> 'source_user_id' = converted.user_id
            and (reward.event_type = 'RewardGranted'
                -- What earlier refunds have left of a reward that is granted late.
                or reward.event_type = 'RewardReversed' and exists (
                    select from events as granted
                    where granted.position between converted.first and converted.last
                        and granted.event_type = 'RewardGranted' and granted.aggregate_id = reward.aggregate_id
                        and granted.sequence = (reward.payload ->> 'reward_sequence')::bigint
                ))
        -- Keeps the planner from beginning with all rewards of the log, as it does while it has no statistics.
        offset 0
    ) as reward
    where converted.event_type = 'ReferralConverted'
        -- After a refund another purchase can convert the same referral: whom the first one paid knows of it.
        and not exists (
            select from events as before
            cross join lateral (
                select start.position as first,
                    start.position + (start.metadata ->> 'command_events')::bigint - 1 as last
                from events as start
                where start.position <= before.position and start.metadata ? 'command_events'
                order by start.position desc
                limit 1
            ) as command
            cross join lateral (
                select from events as paid
                where paid.position between command.first and command.last
                    and paid.event_type = 'RewardGranted' and paid.aggregate_id = reward.aggregate_id
                    and paid.payload ->> 'source_user_id' = converted.user_id
                offset 0
            ) as paid
            where before.aggregate_type = 'Participant' and before.aggregate_id = converted.aggregate_id
                and before.sequence < converted.sequence and before.event_type = 'ReferralConverted'
        )
    group by reward.aggregate_id, converted.program_id, converted.user_id, converted.position
), tiers as (
    -- A change of the rules can make the next tier a lower one; nobody has reached that.
    select changed.position, 'tier' as kind, changed.user_id,
        'tier/' || changed.aggregate_id || '/' || changed.position as occasion,
        jsonb_build_object('program_id', changed.program_id, 'tier_position', changed.position) as facts
    from in_programs as changed
    cross join lateral (
        select
            max((tier ->> 'from_referrals')::bigint) filter (where tier ->> 'name' = changed.payload ->> 'to_tier')
                as reached,
            max((tier ->> 'from_referrals')::bigint) filter (where tier ->> 'name' = changed.payload ->> 'from_tier')
                as left_behind
        from jsonb_path_query(changed.rules, '$.rewards[*].pay.tiers[*]') as tier
    ) as tier
    where changed.event_type = 'TierChanged' and coalesce(tier.reached > tier.left_behind, true)
        -- A tier that a refund has undone can be reached again.
        and not exists (
            select from events as before
            where before.aggregate_type = 'Participant' and before.aggregate_id = changed.aggregate_id
                and before.sequence < changed.sequence and before.event_type = 'TierChanged'
                and before.payload ->> 'to_tier' = changed.payload ->> 'to_tier'
        )
), changed_rewards as materialized (
    -- Rewards that were taken back or are available now, with the reason. A reward that is granted in the same command
    -- is told as what is left of it, if at all.
    select changed.position, case changed.event_type when 'RewardReversed' then 'reversal' else 'release' end as kind,
        changed.program_id, changed.user_id, changed.aggregate_id, changed.first, changed.last, cause.reason
    from in_programs as changed
    cross join lateral (
        select case
                when changed.event_type = 'RewardReversed' then
                    case
                        when bool_or(cause.event_type = 'PurchaseRefunded') then 'refund'
                        when bool_or(cause.event_type = 'DisputeClosed') then 'dispute'
                        else 'decision'
                    end
                when bool_or(cause.event_type = 'HoldPeriodEnded') then 'hold_period'
                when bool_or(cause.event_type = 'PurchaseRewardReleased') then 'operator'
                when bool_or(cause.event_type = 'DisputeClosed' and cause.payload ->> 'outcome' <> 'lost')
                    then 'dispute'
                -- Of a reward that a referral itself had earned.
                when bool_or(cause.event_type = 'ReferralRewardsChanged') then
                    case changed.door when 'job:releases' then 'hold_period' else 'operator' end
            end as reason
        from events as cause
        where cause.position between changed.first and changed.last
    ) as cause
    where cause.reason is not null
        and (
            changed.event_type = 'RewardReversed' and (changed.payload -> 'posting' ->> 'amount')::bigint < 0
            or changed.event_type = 'RewardMoved' and changed.payload -> 'posting' ->> 'from' = 'pending'
                and (changed.payload -> 'posting' ->> 'amount')::bigint > 0
        )
        and not exists (
            select from events as granted
            where granted.position between changed.first and changed.last
                and granted.event_type = 'RewardGranted' and granted.aggregate_id = changed.aggregate_id
        )
), reversals_and_releases as (
    -- To everyone whose rewards a command changes: one mail, however many they are.
    select min(changed.position) as position, changed.kind, changed.user_id,
        changed.kind || '/' || changed.aggregate_id || '/' || changed.first as occasion,
        jsonb_build_object(
            'program_id', changed.program_id,
            'reason', changed.reason,
            'reward_positions', jsonb_agg(changed.position order by changed.position),
            'balance_position', (
                select max(event.position) from events as event
                where event.position between changed.first and changed.last
                    and event.aggregate_id = changed.aggregate_id and event.payload ? 'posting'
            )
        ) as facts
    from changed_rewards as changed
    group by changed.kind, changed.program_id, changed.user_id, changed.aggregate_id, changed.first, changed.last,
        changed.reason
), mails_due as (
    select * from welcomes
    union all select * from referrals
    union all select * from conversions
    union all select * from tiers
    union all select * from reversals_and_releases
), queued as (
    insert into jobs (kind, dedupe_key, payload)
    select 'mail', occasion, facts || jsonb_build_object('mail', kind, 'user_id', user_id)
    from mails_due
    order by position
    on conflict (kind, dedupe_key) do nothing
    returning id, payload
)
insert into mails (job_id, kind, user_id)
select id, payload ->> 'mail', payload ->> 'user_id' from queued
