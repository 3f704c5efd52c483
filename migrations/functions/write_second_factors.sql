-- Turns second factors on, or removes those of objects without a secret.
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
        delete from second_factors where user_id = content ->> 'user_id';
        if content ->> 'sealed_secret' is not null then
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
