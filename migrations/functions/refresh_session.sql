-- Exchanges a refresh token for another one. Calls about one session come one after the other, on whatever server.
--
-- The tokens of one generation stand for each other. Together they are exchanged twice at most, the second time within
-- `reuse` of the first and before a token of the next generation is exchanged. So a session never has more than two
-- tokens that are good, and whoever has a copy of one goes on only as long as they come right before or after the owner
-- each time.
--
-- Outcomes:
--   refreshed  the new token is in force
--   unknown    no such token
--   ended      the session or the token has ended
--   stolen     the generation of the token had been exchanged twice, or longer ago than an answer can be on its way, or
--              the next one has been exchanged: somebody else has a copy
create function {refresh_session}(
    old_hash bytea,
    new_hash bytea,
    token_lifetime interval,
    reuse interval,
    out outcome text,
    out session_id text,
    out user_id text,
    out role text,
    out start_position bigint,
    out expire_time timestamptz
)
language plpgsql
volatile
-- The plans may be cached while the tables are still empty, when a sequential scan looks cheap.
set search_path from current
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    session sessions;
    token refresh_tokens;
    now timestamptz;
begin
    outcome := 'unknown';
    select t.session_id into session_id from refresh_tokens t where t.hash = old_hash;
    if not found then
        return;
    end if;
    select * into session from sessions s
    where s.session_id = {refresh_session}.session_id
    for update;
    if not found then
        return;
    end if;
    user_id := session.user_id;
    role := session.role;
    start_position := session.position;
    expire_time := session.expires_at;

    -- A separate statement, so that its snapshot is taken after the lock.
    select * into token from refresh_tokens t where t.hash = old_hash;
    if not found then
        return;
    end if;
    now := clock_timestamp();
    if session.ended_at is not null or session.expires_at <= now then
        outcome := 'ended';
    elsif token.used_at is not null and not coalesce(token.reusable_until > now, false) then
        outcome := 'stolen';
    elsif token.used_at is null and token.expires_at <= now then
        outcome := 'ended';
    else
        outcome := 'refreshed';
        -- If this is the first exchange, the answer with this token has arrived, and the generation before it is of no
        -- more use. If it is the second one, there is no third.
        update refresh_tokens t set reusable_until = null
        where t.session_id = session.session_id and t.reusable_until is not null;
        if token.used_at is null then
            update refresh_tokens t set used_at = now, reusable_until = now + reuse
            where t.session_id = session.session_id and t.generation = token.generation;
        end if;
        insert into refresh_tokens (hash, session_id, generation, expires_at)
        values (
            new_hash, session.session_id, token.generation + 1,
            least(now + token_lifetime, session.expires_at));
        update sessions s set used_at = now where s.session_id = session.session_id;
    end if;
end;
$$;
