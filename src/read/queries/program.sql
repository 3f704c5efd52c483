-- The rules of a program: $1 program.
select {position} as position, program.rules::text as rules
from (select) as one
left join lateral (
    select rules from {programs} where program_id = $1 limit 1
) as program on true
