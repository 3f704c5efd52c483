-- Takes the lock of the log until the end of the transaction.
create function {lock_log}() returns void
language sql
volatile
set search_path from current
as $$
    select pg_advisory_xact_lock({log_key}())
$$;
