-- What distinguishes one epoch of a database from another: the cluster, its timeline, the database in it, and
-- the log's table with its file. A table that was restored is another one, and one that was emptied and filled
-- again has another file. Without the table there is no row.
select control.system_identifier,
    -- The first eight digits of a WAL file's name are the current timeline.
    ('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 16, '0'))::bit(64)::bigint,
    pg_database.oid::bigint,
    pg_class.oid::bigint,
    pg_relation_filenode(pg_class.oid)::bigint
from pg_control_system() as control, pg_database, pg_class
where pg_database.datname = current_database()
    and pg_class.oid = to_regclass('events')
