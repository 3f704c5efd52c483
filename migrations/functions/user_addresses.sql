-- The address of each of these users in the form in which addresses are compared, null if there is none, with the
-- version of the user's stream: one row for each, in their order.
create function {user_addresses}(user_ids text[]) returns table (version bigint, address text)
language plpgsql
stable
set search_path from current
-- As in `append`: plans may be cached while the tables are still empty.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
    return query
    select coalesce(last_event.sequence, 0), own.value
    from unnest(user_ids) with ordinality as u(user_id, ordinal)
    left join lateral (
        select e.sequence from events as e
        where e.aggregate_type = 'User' and e.aggregate_id = u.user_id
        order by e.sequence desc
        limit 1
    ) as last_event on true
    left join lateral (
        select c.value from claims as c where c.kind || '' = 'email' and c.owner = u.user_id limit 1
    ) as own on true
    order by u.ordinal;
end;
$$;
