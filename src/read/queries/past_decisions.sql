-- What was decided about flags: $1 their ids. Flags that were never raised have no row.
select {position} as position, flag.flag_id, flag.decision
from (select) as one
left join lateral (select flag_id, decision from {fraud_flags} where flag_id = any($1)) as flag on true
