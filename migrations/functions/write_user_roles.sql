-- Writes the roles of people: one object for each change, which replaces the previous role. The keys of back ends that a
-- person created end with the role. (Keys that the batch creates are written before; the decision on a later one sees the
-- new role.)
create function {write_user_roles}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into user_roles (user_id, role)
    -- If a batch has several for one user, the last one is used.
    select distinct on (r.user_id) r.user_id, r.role
    from unnest(contents) with ordinality as c(content, ordinal)
    cross join lateral jsonb_to_record(c.content) as r(user_id text, role text)
    order by r.user_id, c.ordinal desc
    on conflict (user_id) do update set role = excluded.role;

    update api_keys k set revoked_at = clock_timestamp()
    from unnest(contents) as c(content)
    where k.creator_user_id = c.content ->> 'user_id' and k.revoked_at is null;
end;
$$;
