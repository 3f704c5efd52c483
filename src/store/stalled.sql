-- Ends the sessions named $1 that hold up others and have made no progress for 2 seconds; returns what they were
-- doing. Progress is up to the session's process in three states: idle in a transaction; idle, with a lock that lasts
-- as long as the session; and active while Postgres waits to receive the rest of a message, or to send an answer.
with stalled as materialized (
    select pid, coalesce(host(client_addr) || ':' || client_port, '') as client, state,
        coalesce(wait_event, '') as wait_event,
        (extract(epoch from clock_timestamp() - state_change) * 1000)::bigint as silent_ms,
        left(query, 60) as statement
    from pg_stat_activity
    where datname = current_database()
        and usename = session_user
        and application_name = $1
        and pid <> pg_backend_pid()
        and (state like 'idle%' or state = 'active' and wait_event_type = 'Client')
        and clock_timestamp() - state_change > interval '2 seconds'
), blocking as materialized (
    -- Those before a waiting session in the queue of its lock are included, but they are not stalled themselves.
    select distinct blocker.pid
    from pg_stat_activity as waiting
    cross join lateral unnest(pg_blocking_pids(waiting.pid)) as blocker (pid)
    where waiting.datname = current_database()
        and waiting.wait_event_type = 'Lock'
        and exists (select from stalled)
), guilty as materialized (
    select stalled.*
    from stalled
    where pid in (select blocking.pid from blocking)
        -- Leaders are elected by trying, so nobody waits for their locks.
        or state <> 'idle' and exists (
            select from pg_locks
            where pg_locks.pid = stalled.pid and locktype = 'advisory' and mode = 'ExclusiveLock' and granted
        )
)
select guilty.*
from guilty
where pg_terminate_backend(pid)
