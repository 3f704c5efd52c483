-- Ends sessions: one object for each command, with the user and either `these` sessions or `all_but` some.
create function {write_session_ends}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
declare
    content jsonb;
begin
    foreach content in array contents loop
        -- Logins lock the row, too (see start_session): one that has not ended waits, and the statement after this
        -- one sees the sessions of those that have.
        perform from profiles p where p.user_id = content ->> 'user_id' for update;
        update sessions s set ended_at = clock_timestamp()
        where s.user_id = content ->> 'user_id'
            and s.ended_at is null
            and coalesce(content -> 'these' ? s.session_id, not content -> 'all_but' ? s.session_id);
        -- The user's API keys end with all sessions.
        update api_keys k set revoked_at = clock_timestamp()
        where k.user_id = content ->> 'user_id'
            and k.revoked_at is null
            and content -> 'all_but' = '[]'::jsonb;
    end loop;
end;
$$;
