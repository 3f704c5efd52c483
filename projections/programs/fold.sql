merge into {table} as program
using (
    select distinct on (aggregate_id) aggregate_id as program_id,
        position as last_position,
        (payload ->> 'version')::integer as version,
        payload -> 'rules' as rules
    from events
    where position > $1 and position <= $2 and event_type = 'ProgramPublished'
    order by aggregate_id, position desc
) as change
on program.program_id = change.program_id
when matched then update set
    last_position = change.last_position,
    version = change.version,
    rules = change.rules
when not matched then insert (program_id, last_position, version, rules)
values (change.program_id, change.last_position, change.version, change.rules)
