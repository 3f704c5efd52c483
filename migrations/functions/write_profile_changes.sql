-- Changes personal data. What is null in an object stays as it is.
create function {write_profile_changes}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
declare
    content jsonb;
begin
    -- One by one, in order: a batch can change one user several times.
    foreach content in array contents loop
        update profiles
        set username = coalesce(content ->> 'username', username),
            display_name = coalesce(content ->> 'display_name', display_name),
            email = coalesce(content ->> 'email', email)
        where user_id = content ->> 'user_id';
        -- Claims are written before rows.
        if content ->> 'email' is not null then
            update referee_addresses
            set address = (
                select value from claims where kind || '' = 'email' and owner = content ->> 'user_id' limit 1)
            where user_id = content ->> 'user_id';
        end if;
    end loop;
end;
$$;
