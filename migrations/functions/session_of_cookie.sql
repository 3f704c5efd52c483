-- The session of a cookie; nothing if the cookie is unknown, or it or its session has ended. A cookie is a refresh token
-- of another form, which is never exchanged: each use makes it good for `lifetime` from now on, as far as the session
-- goes.
create function {session_of_cookie}(
    cookie_hash bytea,
    lifetime interval,
    out session_id text,
    out user_id text,
    out role text,
    out start_position bigint,
    out expire_time timestamptz
) returns setof record
language plpgsql
volatile
-- The plans may be cached while the tables are still empty, when a sequential scan looks cheap.
set search_path from current
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
begin
    select s.session_id, s.user_id, s.role, s.position, s.expires_at
    into session_id, user_id, role, start_position, expire_time
    from refresh_tokens t join sessions s on s.session_id = t.session_id
    where t.hash = cookie_hash
        and t.used_at is null
        and t.expires_at > clock_timestamp()
        and s.ended_at is null
        and s.expires_at > clock_timestamp();
    if not found then
        return;
    end if;
    update refresh_tokens t set expires_at = least(clock_timestamp() + lifetime, expire_time)
    where t.hash = cookie_hash;
    update sessions s set used_at = clock_timestamp()
    where s.session_id = {session_of_cookie}.session_id;
    return next;
end;
$$;
