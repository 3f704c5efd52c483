-- The totals of the participants' streams.
select
    substr(aggregate_id, strpos(aggregate_id, '/') + 1),
    count(*) filter (where event_type = 'RewardGranted'),
    coalesce(sum((payload #>> '{posting,amount}')::bigint)
        filter (where event_type = 'RewardGranted'), 0)::bigint,
    coalesce((array_agg((payload #>> '{posting,after,available}')::bigint order by sequence desc)
        filter (where event_type = 'RewardGranted'))[1], 0),
    -- Two conversions would be wrong, too.
    count(*) filter (where event_type = 'ReferralConverted') = 1
from events
where aggregate_type = 'Participant'
group by aggregate_id
