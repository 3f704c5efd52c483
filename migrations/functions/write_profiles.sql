-- Writes personal data: one object for each user, which replaces the previous one.
create function {write_profiles}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into profiles (user_id, username, email, display_name, password_hash)
    -- If a batch has several for one user, the last one is used.
    select distinct on (p.user_id)
        p.user_id, p.username, p.email, p.display_name, p.password_hash
    from unnest(contents) with ordinality as c(content, ordinal)
    cross join lateral jsonb_to_record(c.content) as p(
        user_id text, username text, email text, display_name text, password_hash text)
    order by p.user_id, c.ordinal desc
    on conflict (user_id) do update
    set username = excluded.username,
        email = excluded.email,
        display_name = excluded.display_name,
        password_hash = excluded.password_hash;
end;
$$;
