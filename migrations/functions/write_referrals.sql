-- Inserts referrals, whose rows are never changed, and the addresses of those who were referred. (Claims are written
-- before rows.)
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

    insert into referee_addresses (program_id, referrer_user_id, refer_time, user_id, address)
    select r.program_id, r.referrer_user_id, to_timestamp(0) + r.refer_time_us * interval '1 microsecond',
        r.referee_user_id, own.value
    from unnest(contents) as c(content)
    cross join lateral jsonb_to_record(c.content) as r(
        program_id text, referee_user_id text, referrer_user_id text, refer_time_us bigint)
    left join lateral (
        select value from claims where kind || '' = 'email' and owner = r.referee_user_id limit 1
    ) as own on true;
end;
$$;
