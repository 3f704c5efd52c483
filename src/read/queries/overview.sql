-- The key figures of a program: $1 program.
select {position} as position, program.rules ->> 'unit' as unit, overview.*,
    overview.granted_minor::text as granted_text, overview.reversed_minor::text as reversed_text,
    overview.owed_pending_minor::text as owed_pending_text,
    overview.owed_available_minor::text as owed_available_text,
    overview.owed_reserved_minor::text as owed_reserved_text, overview.debt_minor::text as debt_text
from (select) as one
left join lateral (
    select rules from {programs} where program_id = $1 limit 1
) as program on true
left join lateral (
    select * from {overviews} where program_id = $1 limit 1
) as overview on true
