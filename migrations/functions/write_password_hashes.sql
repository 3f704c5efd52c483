-- Writes the hashes of new passwords: one object for each change.
create function {write_password_hashes}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    update profiles p set password_hash = h.password_hash
    from (
        -- If a batch has several for one user, the last one is used.
        select distinct on (h.user_id) h.user_id, h.password_hash
        from unnest(contents) with ordinality as c(content, ordinal)
        cross join lateral jsonb_to_record(c.content) as h(user_id text, password_hash text)
        order by h.user_id, c.ordinal desc
    ) as h
    where p.user_id = h.user_id;
end;
$$;
