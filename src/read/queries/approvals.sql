-- Approvals, newest first: $1 asked for before this position, $2 limit. Filters, each null for any: $3 state, $4 program,
-- $5 user, $6 approval.
select {position} as position, page.*
from (select) as one
left join lateral (
    select * from (
        (
            select * from {approvals} as approval
            where $6::text is null and $5::text is null and $4::text is null
                and approval.requested_position < $1::bigint
                and ($3::text is null or approval.state = $3)
            order by approval.requested_position desc
            limit $2
        )
        union all
        (
            select * from {approvals} as approval
            where $6::text is null and ($5::text is not null or $4::text is not null)
                and approval.requested_position < $1::bigint
                and ($3::text is null or approval.state = $3)
                and ($4::text is null or approval.program_id = $4)
                and ($5::text is null or approval.user_id = $5)
            order by approval.requested_position desc
            limit $2
        )
        union all
        select * from {approvals} as approval where approval.approval_id = $6
    ) as found
    order by found.requested_position desc
    limit $2
) as page on true
order by page.requested_position desc
