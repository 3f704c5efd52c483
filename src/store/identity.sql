-- What distinguishes one epoch of a database from another: the cluster, its timeline and the database in it.
select control.system_identifier,
    -- The first eight digits of a WAL file's name are the current timeline.
    ('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 16, '0'))::bit(64)::bigint,
    pg_database.oid::bigint
from pg_control_system() as control, pg_database
where pg_database.datname = current_database()
