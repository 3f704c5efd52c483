-- Redemptions, newest first: $1 made before this position, $2 limit. Filters, each null for any: $3 state, $4 program,
-- $5 user, $6 item, $7 redemption.
select {position} as position, page.*
from (select) as one
left join lateral (
    select * from (
        (
            select * from {redemptions} as redemption
            where $7::text is null and $5::text is null and $4::text is null
                and redemption.made_position < $1::bigint
                and ($3::text is null or redemption.state = $3)
                and ($6::text is null or redemption.item_id = $6)
            order by redemption.made_position desc
            limit $2
        )
        union all
        (
            select * from {redemptions} as redemption
            where $7::text is null and ($5::text is not null or $4::text is not null)
                and redemption.made_position < $1::bigint
                and ($3::text is null or redemption.state = $3)
                and ($4::text is null or redemption.program_id = $4)
                and ($5::text is null or redemption.user_id = $5)
                and ($6::text is null or redemption.item_id = $6)
            order by redemption.made_position desc
            limit $2
        )
        union all
        select * from {redemptions} as redemption where redemption.redemption = $7
    ) as found
    order by found.made_position desc
    limit $2
) as page on true
order by page.made_position desc
