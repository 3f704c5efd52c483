-- For each payout that was created a job that collects its lines, and for each that is confirmed or has failed as a whole
-- one that does so line by line.
insert into jobs (kind, dedupe_key, payload)
select case event.event_type when 'PayoutCreated' then 'payout_collect' else 'payout_settle' end,
    event.aggregate_id || '/',
    jsonb_build_object('payout', event.aggregate_id, 'position', event.position, 'after', '')
from events as event
where event.position > $1 and event.position <= $2
    and event.event_type in ('PayoutCreated', 'PayoutConfirmationStarted', 'PayoutFailureStarted')
order by event.position
on conflict (kind, dedupe_key) do nothing
