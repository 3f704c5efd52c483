-- Writes how users are paid: one object for each change, which replaces what was there; without a kind nothing is there
-- any more.
create function {write_payout_methods}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
declare
    content jsonb;
begin
    -- One by one, in order: a batch can change one user several times.
    foreach content in array contents loop
        delete from payout_methods where user_id = content ->> 'user_id';
        insert into payout_methods (user_id, kind, reference, set_time)
        select content ->> 'user_id', content ->> 'kind', content ->> 'reference',
            to_timestamp(0) + (content ->> 'set_time_us')::bigint * interval '1 microsecond'
        where content ->> 'kind' is not null;
    end loop;
end;
$$;
