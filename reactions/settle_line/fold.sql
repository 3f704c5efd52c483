-- For each referral that was rejected with what it had earned, or about which that was decided otherwise, a job that
-- settles what was earned through it.
insert into jobs (kind, dedupe_key, payload)
select 'settle_line', event.aggregate_id || '/' || event.position,
    jsonb_build_object(
        'program_id', id.program_id,
        'referee_user_id', substr(event.aggregate_id, length(id.program_id) + 2)
    )
from events as event
cross join lateral (select split_part(event.aggregate_id, '/', 1) as program_id) as id
where event.position > $1 and event.position <= $2
    and event.event_type = 'ReferralStandingChanged' and event.payload ? 'settles_purchases'
order by event.position
on conflict (kind, dedupe_key) do nothing
