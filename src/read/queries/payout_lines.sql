-- The lines of a payout, by user: $1 payout, $2 after this user, $3 limit. Filters, each null for any: $4 state, $5 reason
-- why somebody was skipped.
select {position} as position, page.*
from (select) as one
left join lateral (
    select * from (
        (
            select * from {payout_lines} as line
            where $4::text is null and line.payout = $1 and line.user_id > $2
                and ($5::text is null or line.skip_reason = $5)
            order by line.user_id
            limit $3
        )
        union all
        (
            select * from {payout_lines} as line
            where line.payout = $1 and line.state = $4 and line.user_id > $2
                and ($5::text is null or line.skip_reason = $5)
            order by line.user_id
            limit $3
        )
    ) as found
    order by found.user_id
    limit $3
) as page on true
order by page.user_id
