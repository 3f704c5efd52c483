-- Turns second factors on, or removes those of objects without a secret. Objects with a `begun_secret` are of factors that
-- are being set up, those with a `used_hash` of recovery codes that are used up.
create function {write_second_factors}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
declare
    content jsonb;
begin
    -- One by one, in order: a batch can change one user several times.
    foreach content in array contents loop
        if content ? 'used_hash' then
            update second_factors
            set recovery_hashes = array_remove(recovery_hashes, decode(content ->> 'used_hash', 'hex'))
            where user_id = content ->> 'user_id';
            continue;
        end if;
        delete from second_factors where user_id = content ->> 'user_id';
        if content ? 'begun_secret' then
            insert into second_factors (user_id, sealed_secret, is_on)
            values (content ->> 'user_id', decode(content ->> 'begun_secret', 'hex'), false);
        elsif content ->> 'sealed_secret' is not null then
            insert into second_factors (user_id, sealed_secret, is_on, last_period, recovery_hashes)
            values (
                content ->> 'user_id',
                decode(content ->> 'sealed_secret', 'hex'),
                true,
                (content ->> 'last_period')::bigint,
                array(
                    select decode(hash, 'hex')
                    from jsonb_array_elements_text(content -> 'recovery_hashes') as r(hash)));
        end if;
    end loop;
end;
$$;
