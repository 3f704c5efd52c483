merge into {table} as known
using (
    select aggregate_id as flag_id,
        max(position) as last_position,
        max(position) filter (where event_type = 'FraudFlagRaised') as raised_position,
        (array_agg(payload) filter (where event_type = 'FraudFlagRaised'))[1] as raised,
        max(recorded_at) filter (where event_type = 'FraudFlagRaised') as raise_time,
        max((payload ->> 'count')::integer) filter (where event_type = 'FraudFlagRepeated') as recorded_count,
        -- Of several decisions the last holds. A decision is the first event of its command, which says by whom.
        (array_agg(payload ->> 'decision' order by position desc)
            filter (where event_type = 'FraudFlagResolved'))[1] as decision,
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
    is_open = known.is_open and change.decision is null,
    recorded_count = greatest(known.recorded_count, change.recorded_count),
    decision = coalesce(change.decision, known.decision),
    resolve_time = coalesce(change.resolve_time, known.resolve_time),
    resolved_by = coalesce(change.resolved_by, known.resolved_by)
when not matched then insert (
    flag_id, last_position, raised_position, is_open, kind, score_bps, program_id, referee_user_id,
    referrer_user_id, other_user_id, occasion, consequence, evidence, raise_time, recorded_count,
    decision, resolve_time, resolved_by)
values (
    change.flag_id, change.last_position, change.raised_position, change.decision is null,
    change.raised ->> 'kind', (change.raised ->> 'score_bps')::integer, change.raised ->> 'program_id',
    change.raised ->> 'referee_user_id', change.raised ->> 'referrer_user_id',
    change.raised ->> 'other_user_id', change.raised ->> 'occasion', change.raised ->> 'consequence',
    change.raised -> 'evidence', change.raise_time, coalesce(change.recorded_count, 1),
    change.decision, change.resolve_time, change.resolved_by)
