-- Opens a new epoch if the database is not the one that the last epoch was opened on.
insert into epochs (epoch, system_identifier, timeline, database_oid, start_position)
select coalesce(last.epoch, 0) + 1, present.system_identifier, present.timeline,
    present.database_oid, coalesce(head.position, 0)
from (
    select control.system_identifier,
        -- The first eight digits of a WAL file's name are the timeline that is written now.
        ('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 16, '0'))::bit(64)::bigint
            as timeline,
        pg_database.oid::bigint as database_oid
    from pg_control_system() as control, pg_database
    where pg_database.datname = current_database()
) as present
left join (select * from epochs order by epoch desc limit 1) as last on true
left join (select position from events order by position desc limit 1) as head on true
where (last.system_identifier, last.timeline, last.database_oid)
    is distinct from (present.system_identifier, present.timeline, present.database_oid)
