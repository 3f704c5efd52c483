-- Inserts referrals. Their rows are never changed.
create function {write_referrals}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into referrals (program_id, referee_user_id, referrer_user_id)
    select r.program_id, r.referee_user_id, r.referrer_user_id
    from unnest(contents) as c(content)
    cross join lateral jsonb_to_record(c.content) as r(
        program_id text, referee_user_id text, referrer_user_id text);
end;
$$;
