-- The key figures of a program: $1 program.
select {position} as position, program.rules ->> 'unit' as unit, overview.*,
    least(overview.granted_minor, 9223372036854775807)::bigint as shown_minor
from (select) as one
left join lateral (
    select rules from {programs} where program_id = $1 limit 1
) as program on true
left join lateral (
    select * from {overviews} where program_id = $1 limit 1
) as overview on true
