-- Whom each of these participants has referred last, with the version of the participant's stream: one row for each.
-- The rows of one referrer are read from the covering index, backwards.
select coalesce(last_event.sequence, 0) as version, latest.user_ids, latest.refer_times, latest.addresses
from unnest($1::text[], $2::text[]) with ordinality as p(program_id, user_id, ordinal)
left join lateral (
    select sequence from events
    where aggregate_type = 'Participant' and aggregate_id = p.program_id || '/' || p.user_id
    order by sequence desc
    limit 1
) as last_event on true
cross join lateral (
    select coalesce(array_agg(r.user_id), '{}') as user_ids,
        coalesce(array_agg(r.refer_time), '{}') as refer_times,
        coalesce(array_agg(r.address), '{}') as addresses
    from (
        select user_id, refer_time, address from referee_addresses
        where referee_addresses.program_id = p.program_id
            and referee_addresses.referrer_user_id = p.user_id
        order by refer_time desc, user_id desc
        limit $3
    ) as r
) as latest
order by p.ordinal
