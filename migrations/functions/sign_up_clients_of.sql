-- From where each of these users signed up, null if it is not known, with the version of the user's stream: one row for
-- each, in their order.
create function {sign_up_clients_of}(user_ids text[])
returns table (version bigint, client_address text, fingerprint_key text, sign_up_time timestamptz)
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
    select coalesce(last_event.sequence, 0), c.client_address, c.fingerprint_key, c.sign_up_time
    from unnest(user_ids) with ordinality as u(user_id, ordinal)
    left join lateral (
        select e.sequence from events as e
        where e.aggregate_type = 'User' and e.aggregate_id = u.user_id
        order by e.sequence desc
        limit 1
    ) as last_event on true
    left join sign_up_clients as c on c.user_id = u.user_id
    order by u.ordinal;
end;
$$;
