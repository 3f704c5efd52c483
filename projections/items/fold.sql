merge into {table} as known
using (
    select aggregate_id as item,
        max(position) as last_position,
        min(position) filter (where event_type = 'ItemPublished') as published_position,
        (array_agg(payload order by position desc) filter (where event_type = 'ItemPublished'))[1] as published,
        count(*) filter (where event_type = 'ItemTaken')
            - count(*) filter (where event_type = 'ItemPutBack') as taken,
        min(recorded_at) filter (where event_type = 'ItemPublished') as publish_time
    from events
    where position > $1 and position <= $2
        and event_type in ('ItemPublished', 'ItemTaken', 'ItemPutBack')
    group by aggregate_id
) as change
on known.item = change.item
when matched then update set
    last_position = change.last_position,
    version = coalesce((change.published ->> 'version')::integer, known.version),
    terms = coalesce(change.published -> 'terms', known.terms),
    taken = known.taken + change.taken
when not matched then insert (
    item, last_position, published_position, program_id, version, terms, taken, publish_time)
values (
    change.item, change.last_position, change.published_position,
    -- The first slash ends the program.
    split_part(change.item, '/', 1),
    (change.published ->> 'version')::integer, change.published -> 'terms', change.taken, change.publish_time)
