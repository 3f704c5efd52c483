-- Empties sign-ups that have become users. The rows stay for a while, so that a link that is opened again gets the same
-- answer.
create function {write_confirmed_sign_ups}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    update sign_ups
    set confirmed_at = clock_timestamp(), address = null, email = null, username = null, display_name = null,
        password_hash = null, program_id = null, referral_code = null, client_ip = null,
        fingerprint_key = null
    from unnest(contents) as c(content)
    where sign_ups.user_id = c.content ->> 'user_id';
end;
$$;
