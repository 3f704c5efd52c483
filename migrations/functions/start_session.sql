-- Starts a session of a user who has proved to know the password with this hash, and returns it. Returns nothing if the
-- password was changed meanwhile or the user was erased.
create function {start_session}(
    user_id text,
    known_password_hash text,
    new_session_id text,
    token_hash bytea,
    client text,
    lifetime interval,
    token_lifetime interval,
    requires_second_factor boolean,
    out session_id text,
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
declare
    started timestamptz;
begin
    -- Whoever ends all sessions of the user locks the row, too. Either that happens first, and what follows sees its
    -- effects, or it finds the session that is started here.
    perform from profiles p
    where p.user_id = {start_session}.user_id and p.password_hash = known_password_hash
    for share;
    if not found then
        return;
    end if;

    -- Separate statements, so that their snapshots are taken after the lock.
    select e.position into start_position from events e order by e.position desc limit 1;
    start_position := coalesce(start_position, 0);
    started := clock_timestamp();
    -- A participant's calls have the role `user`. A later change of the role ends the session.
    select coalesce(
        (
            select nullif(r.role, 'participant') from user_roles r
            where r.user_id = {start_session}.user_id
        ),
        'user'
    ) into role;
    -- Operators and admins who are deactivated can do what users can. Whoever deactivates one ends their sessions, and
    -- has locked the row.
    if role <> 'user' and coalesce(
        (
            select e.event_type = 'UserDeactivated' from events e
            where e.aggregate_type = 'User'
                and e.aggregate_id = {start_session}.user_id
                and e.event_type in ('UserDeactivated', 'UserReactivated')
            order by e.sequence desc
            limit 1
        ),
        false)
    then
        role := 'user';
    end if;
    -- Operators and admins who must have a second factor and have none can do what users can: enough to set one up.
    if requires_second_factor
        and not exists (
            select from second_factors f
            where f.user_id = {start_session}.user_id and f.is_on)
    then
        role := 'user';
    end if;
    session_id := new_session_id;
    expire_time := started + lifetime;
    insert into sessions (
        session_id, user_id, role, user_agent, created_at, position, expires_at, used_at)
    values (
        {start_session}.session_id, {start_session}.user_id, {start_session}.role, client, started,
        start_position, expire_time, started);
    insert into refresh_tokens (hash, session_id, expires_at)
    values (
        token_hash, {start_session}.session_id, least(started + token_lifetime, expire_time));
    return next;
end;
$$;
