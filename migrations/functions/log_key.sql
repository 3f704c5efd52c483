-- The key of the lock at which the appends of all servers queue; made from the schema, so that several
-- logs can live in one database. Without settings of its own, so that it costs nothing.
--
-- Every release must come to the same key: with another one, two releases would append at the same time.
create function {log_key}() returns bigint
language sql
stable
as $$
    select hashtextextended('tributary log ' || current_schema(), 0)
$$;
