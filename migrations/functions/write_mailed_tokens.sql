-- Inserts tokens that are to be mailed.
create function {write_mailed_tokens}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into mailed_tokens (id, purpose, user_id, email, version)
    select t.id, t.purpose, t.user_id, t.email, t.version
    from unnest(contents) as c(content)
    cross join lateral jsonb_to_record(c.content) as t(
        id uuid, purpose text, user_id text, email text, version bigint);
end;
$$;
