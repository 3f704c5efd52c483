-- Notes which kinds of mail users want, and which they do not.
create function {write_mail_preferences}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
declare
    content jsonb;
begin
    -- One by one, in order: a batch can change one user several times.
    foreach content in array contents loop
        delete from mail_opt_outs
        where user_id = content ->> 'user_id'
            and kind in (select kind from jsonb_array_elements_text(content -> 'wanted') as k(kind));
        insert into mail_opt_outs (user_id, kind)
        select content ->> 'user_id', k.kind
        from jsonb_array_elements_text(content -> 'unwanted') as k(kind)
        on conflict do nothing;
    end loop;
end;
$$;
