-- Returns the present epoch of the database. Begins a new one at the head of the log if the cluster, its timeline, the
-- database, or the table of events or its file differs from that of the last epoch.
--
-- One call, so that no process holds the lock of the log while it is not known to be alive. The lock keeps two servers
-- from beginning the same epoch, and appends from moving the head.
create function {enter_epoch}(
    system_identifier bigint,
    timeline bigint,
    database_oid bigint,
    events_oid bigint,
    events_filenode bigint,
    out epoch integer,
    out start_position bigint
)
language plpgsql
volatile
set search_path from current
as $$
#variable_conflict use_column
begin
    -- With an older snapshot the head read below could be outdated.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'an epoch needs read committed, not %', current_setting('transaction_isolation');
    end if;

    perform pg_advisory_xact_lock({log_key}());

    -- Separate statements, so that their snapshots are taken after the lock. The number grows with time, so that two
    -- restores of one backup begin epochs of different numbers: the seconds since 2020, which fit until 2088.
    insert into epochs (
        epoch, system_identifier, timeline, database_oid, events_oid, events_filenode, start_position)
    select greatest(
            coalesce(last.epoch, 0) + 1,
            (extract(epoch from clock_timestamp()) - 1577836800)::integer),
        {enter_epoch}.system_identifier, {enter_epoch}.timeline,
        {enter_epoch}.database_oid, {enter_epoch}.events_oid, {enter_epoch}.events_filenode,
        coalesce(head.position, 0)
    from (select 1) as one
    left join (select * from epochs order by epoch desc limit 1) as last on true
    left join (select position from events order by position desc limit 1) as head on true
    where (
            last.system_identifier, last.timeline, last.database_oid, last.events_oid,
            last.events_filenode)
        is distinct from (
            {enter_epoch}.system_identifier, {enter_epoch}.timeline, {enter_epoch}.database_oid,
            {enter_epoch}.events_oid, {enter_epoch}.events_filenode);

    select e.epoch, e.start_position into epoch, start_position
    from epochs e order by e.epoch desc limit 1;
end;
$$;
