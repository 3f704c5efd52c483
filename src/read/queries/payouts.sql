-- Payouts, newest first: $1 created before this position, $2 limit. Filters, each null for any: $3 program, $4 payout.
select {position} as position, page.*,
    -- What an amount can be at most, where lines come to more.
    least(page.reserved_minor, 9223372036854775807)::bigint as reserved,
    least(page.paid_minor, 9223372036854775807)::bigint as paid,
    least(page.failed_minor, 9223372036854775807)::bigint as failed,
    least(page.returned_minor, 9223372036854775807)::bigint as returned
from (select) as one
left join lateral (
    select * from (
        (
            select * from {payouts} as payout
            where $4::text is null and $3::text is null and payout.created_position < $1::bigint
            order by payout.created_position desc
            limit $2
        )
        union all
        (
            select * from {payouts} as payout
            where $4::text is null and payout.program_id = $3 and payout.created_position < $1::bigint
            order by payout.created_position desc
            limit $2
        )
        union all
        select * from {payouts} as payout where payout.payout = $4
    ) as found
    order by found.created_position desc
    limit $2
) as page on true
order by page.created_position desc
