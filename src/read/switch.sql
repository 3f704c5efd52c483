-- Replaces the copy {old} with the copy {new}, in one message, so that the locks do not depend on a process of ours.
do $switch$
declare
    reached bigint;
    head bigint;
begin
    -- Gives way to those who use the tables now. Reads that arrive meanwhile wait as well.
    perform set_config('lock_timeout', '200ms', true);
    -- Folds take these locks before they touch a table, so from here on the old copy stands still.
    perform from read_model_copies where copy in ('{old}', '{new}') order by copy for no key update;

    -- A separate statement, which sees what was committed while the first one waited.
    select position into strict reached
    from checkpoints where copy = '{new}' order by position desc limit 1;
    select coalesce((select position from events order by position desc limit 1), 0) into head;
    if reached < head then
        execute $fold${fold}$fold$ using reached, head;
    end if;

    -- Reads are blocked only from here on. They touch only one more table at a time, so a deadlock with a read is
    -- possible; the wait ends before Postgres looks for one.
    lock table {old} in access exclusive mode;
    drop table {old};
    alter table {new} rename to {old};
    delete from checkpoints where copy = '{old}';
    insert into checkpoints (copy, position, folded_at) values ('{old}', head, clock_timestamp());
    update read_model_copies set is_complete = true where copy = '{old}';
    delete from read_model_copies where copy = '{new}';
end
$switch$
