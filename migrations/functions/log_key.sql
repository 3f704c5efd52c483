-- The key of the lock at which the appends of all servers queue. It is derived from the schema, so that
-- several logs can share one database. The function sets no configuration parameters, so that it can be
-- inlined.
--
-- Every release must compute the same key; with different keys, two releases would append at the same time.
create function {log_key}() returns bigint
language sql
stable
as $$
    select hashtextextended('tributary log ' || current_schema(), 0)
$$;
