-- Writes from where users signed up: one object for each.
create function {write_sign_up_clients}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into sign_up_clients (user_id, client_address, network, fingerprint_key, sign_up_time)
    select s.user_id, s.client_address, s.network, s.fingerprint_key,
        to_timestamp(0) + s.sign_up_time_us * interval '1 microsecond'
    from unnest(contents) as c(content)
    cross join lateral jsonb_to_record(c.content) as s(
        user_id text, client_address text, network text, fingerprint_key text, sign_up_time_us bigint);
end;
$$;
