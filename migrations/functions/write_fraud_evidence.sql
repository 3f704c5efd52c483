-- Writes what was found when flags were raised: one object for each. A flag that has its row already was found again.
create function {write_fraud_evidence}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
declare
    content jsonb;
begin
    -- One by one: a batch can find the same several times.
    foreach content in array contents loop
        insert into fraud_evidence as known (
            flag_id, user_id, other_user_id, address, other_address, client_address, network, fingerprint_key,
            findings, sign_up_count, found_time, last_found_time)
        select e.flag_id, e.user_id, e.other_user_id, e.address, e.other_address, e.client_address, e.network,
            e.fingerprint_key, e.findings, e.sign_up_count,
            to_timestamp(0) + e.found_time_us * interval '1 microsecond',
            to_timestamp(0) + e.found_time_us * interval '1 microsecond'
        from jsonb_to_record(content) as e(
            flag_id text, user_id text, other_user_id text, address text, other_address text,
            client_address text, network text, fingerprint_key text, findings jsonb, sign_up_count integer,
            found_time_us bigint)
        on conflict (flag_id) do update
        set repetitions = known.repetitions + 1,
            sign_up_count = excluded.sign_up_count,
            last_found_time = greatest(known.last_found_time, excluded.last_found_time);
    end loop;
end;
$$;
