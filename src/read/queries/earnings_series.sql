-- What a participant earned, net of reversals, in each period and on each line: $1 participant, $2 after this sequence, $3
-- up to this one, $4 the beginnings of the periods and the end of the last, $5 the field that names the line, $6 how many
-- lines are told apart: those that brought most. The rest is added up. What is 0 is left out.
--
-- There can be nearly as many lines as events, so they are only counted and added up; what is sorted and joined are the
-- few that are told apart. A line is null only where a newer release granted something without one.
with entry as materialized (
    select width_bucket(recorded_at, $4::timestamptz[]) as period,
        coalesce(payload ->> $5, '') collate "C" as line,
        (payload -> 'posting' ->> 'amount')::bigint as amount_minor
    from events
    where aggregate_type = 'Participant' and aggregate_id = $1 and sequence > $2 and sequence <= $3
        and payload -> 'posting' ->> 'kind' in ('points', 'credit', 'bonus', 'commission', 'reversal')
), total as materialized (
    select line, sum(amount_minor) as line_minor
    from entry
    group by line
), largest as materialized (
    select line, row_number() over (order by line_minor desc, line) as place
    from total
    order by line_minor desc, line
    limit $6
)
select entry.period, nullif(largest.line, '') as line,
    coalesce(largest.place, $6 + 1) as place,
    sum(entry.amount_minor)::bigint as amount_minor,
    (select count(*) from total) as line_count
from entry
left join largest on largest.line = entry.line
group by 1, 2, 3
having sum(entry.amount_minor) <> 0
order by 3, 1
