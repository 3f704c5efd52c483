merge into {table} as known
using (
    select aggregate_id as flag_id,
        max(position) as last_position,
        max(position) filter (where event_type = 'FraudFlagRaised') as raised_position,
        (array_agg(payload) filter (where event_type = 'FraudFlagRaised'))[1] as raised,
        max(recorded_at) filter (where event_type = 'FraudFlagRaised') as raise_time,
        max((payload ->> 'count')::integer) filter (where event_type = 'FraudFlagRepeated') as recorded_count,
        -- A decision closes a flag, and a repetition after it opens the flag again.
        (array_agg(event_type order by position desc)
            filter (where event_type in ('FraudFlagRepeated', 'FraudFlagResolved')))[1] as last_change,
        -- Of several decisions the last holds. A decision is the first event of its command, which says by whom.
        (array_agg(payload ->> 'decision' order by position desc)
            filter (where event_type = 'FraudFlagResolved'))[1] as decision,
        (array_agg(payload ? 'reverses_rewards' order by position desc)
            filter (where event_type = 'FraudFlagResolved'))[1] as reverses_rewards,
        max(recorded_at) filter (where event_type = 'FraudFlagResolved') as resolve_time,
        (array_agg(metadata ->> 'actor' order by position desc)
            filter (where event_type = 'FraudFlagResolved'))[1] as resolved_by
    from events
    where position > $1 and position <= $2
        and event_type in ('FraudFlagRaised', 'FraudFlagRepeated', 'FraudFlagResolved')
    group by aggregate_id
) as change
on known.flag_id = change.flag_id
when matched then update set
    last_position = change.last_position,
    is_open = case change.last_change
        when 'FraudFlagResolved' then false when 'FraudFlagRepeated' then true else known.is_open end,
    recorded_count = greatest(known.recorded_count, change.recorded_count),
    decision = case change.last_change
        when 'FraudFlagResolved' then change.decision when 'FraudFlagRepeated' then null else known.decision end,
    reverses_rewards = case change.last_change
        when 'FraudFlagResolved' then change.reverses_rewards when 'FraudFlagRepeated' then false
        else known.reverses_rewards end,
    resolve_time = case change.last_change
        when 'FraudFlagResolved' then change.resolve_time when 'FraudFlagRepeated' then null
        else known.resolve_time end,
    resolved_by = case change.last_change
        when 'FraudFlagResolved' then change.resolved_by when 'FraudFlagRepeated' then null
        else known.resolved_by end
when not matched then insert (
    flag_id, last_position, raised_position, is_open, kind, score_bps, program_id, referee_user_id,
    referrer_user_id, other_user_id, occasion, consequence, evidence, raise_time, recorded_count,
    decision, reverses_rewards, resolve_time, resolved_by)
values (
    change.flag_id, change.last_position, change.raised_position,
    change.last_change is distinct from 'FraudFlagResolved',
    change.raised ->> 'kind', (change.raised ->> 'score_bps')::integer, change.raised ->> 'program_id',
    change.raised ->> 'referee_user_id', change.raised ->> 'referrer_user_id',
    change.raised ->> 'other_user_id', change.raised ->> 'occasion', change.raised ->> 'consequence',
    change.raised -> 'evidence', change.raise_time, coalesce(change.recorded_count, 1),
    case when change.last_change = 'FraudFlagResolved' then change.decision end,
    change.last_change is not distinct from 'FraudFlagResolved' and change.reverses_rewards,
    case when change.last_change = 'FraudFlagResolved' then change.resolve_time end,
    case when change.last_change = 'FraudFlagResolved' then change.resolved_by end)
