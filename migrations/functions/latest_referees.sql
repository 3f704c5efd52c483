-- Whom each of these participants has referred last, with the version of the participant's stream: one row for each, in
-- their order. The rows of one referrer are read from the covering index, backwards. Their users and addresses are
-- lines of one text each, which costs half of what arrays do; the line of an erased user's address is empty.
create function {latest_referees}(program_ids text[], user_ids text[], most bigint)
returns table (version bigint, referees text, refer_times timestamptz[], addresses text)
language plpgsql
stable
set search_path from current
-- Where it knows no better, the planner would read all referees of somebody and sort them, however many there are.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
    return query
    select coalesce(last_event.sequence, 0), latest.referees, latest.refer_times, latest.addresses
    from unnest(program_ids, user_ids) with ordinality as p(program_id, user_id, ordinal)
    left join lateral (
        select e.sequence from events as e
        where e.aggregate_type = 'Participant' and e.aggregate_id = p.program_id || '/' || p.user_id
        order by e.sequence desc
        limit 1
    ) as last_event on true
    cross join lateral (
        select coalesce(string_agg(of.user_id, E'\n'), '') as referees,
            coalesce(array_agg(of.refer_time), '{}') as refer_times,
            coalesce(string_agg(coalesce(of.address, ''), E'\n'), '') as addresses
        from (
            select r.user_id, r.refer_time, r.address from referee_addresses as r
            where r.program_id = p.program_id and r.referrer_user_id = p.user_id
            order by r.refer_time desc, r.user_id desc
            limit most
        ) as of
    ) as latest
    order by p.ordinal;
end;
$$;
