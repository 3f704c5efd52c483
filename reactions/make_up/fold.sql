-- For each released referral a job that makes up for the purchases which earned nothing because it was held or
-- rejected.
insert into jobs (kind, dedupe_key, payload)
select 'make_up', event.aggregate_id || '/' || event.position,
    jsonb_build_object(
        'program_id', id.program_id,
        'referee_user_id', substr(event.aggregate_id, length(id.program_id) + 2),
        -- The purchases in question are recorded after the referral.
        'after_position', applied.position
    )
from events as event
cross join lateral (select split_part(event.aggregate_id, '/', 1) as program_id) as id
cross join lateral (
    select referral.position from events as referral
    where referral.aggregate_type = 'Participant' and referral.aggregate_id = event.aggregate_id
        and referral.sequence < event.sequence and referral.event_type = 'ReferralApplied'
    order by referral.sequence
    limit 1
) as applied
where event.position > $1 and event.position <= $2
    and event.event_type = 'ReferralStandingChanged' and event.payload ? 'release_time_us'
order by event.position
on conflict (kind, dedupe_key) do nothing
