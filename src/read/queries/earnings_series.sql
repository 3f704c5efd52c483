-- What a participant earned, net of reversals, in each period and on each line: $1 participant, $2 after this sequence, $3
-- up to this one, $4 the beginnings of the periods and the end of the last, $5 the field that names the line, $6 how many
-- lines are told apart: those that brought most. The rest is added up. What is 0 is left out.
with amount as materialized (
    select width_bucket(recorded_at, $4::timestamptz[]) as period, payload ->> $5 as line,
        sum((payload -> 'posting' ->> 'amount')::bigint) as amount_minor
    from events
    where aggregate_type = 'Participant' and aggregate_id = $1 and sequence > $2 and sequence <= $3
        and payload -> 'posting' ->> 'kind' in ('points', 'credit', 'bonus', 'commission', 'reversal')
    group by period, line
), ranked as (
    select line, row_number() over (order by sum(amount_minor) desc, line) as place
    from amount
    group by line
)
select amount.period,
    case when ranked.place <= $6 then amount.line end as line,
    least(ranked.place, $6 + 1) as place,
    sum(amount.amount_minor)::bigint as amount_minor,
    (select count(*) from ranked) as line_count
from amount
join ranked on ranked.line is not distinct from amount.line
group by 1, 2, 3
having sum(amount.amount_minor) <> 0
order by 3, 1
