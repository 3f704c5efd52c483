-- Items of a program, the newest first: $1 published before this position, $2 limit, $3 program. $4: only those that can
-- be redeemed at present. $5: only this item, whatever its program; null for all of the program.
select {position} as position, page.*
from (select) as one
left join lateral (
    select * from (
        (
            select * from {items} as item
            where $5::text is null and item.program_id = $3 and item.published_position < $1::bigint
                and (not $4::boolean or (item.terms -> 'is_available')::boolean)
            order by item.published_position desc
            limit $2
        )
        union all
        select * from {items} as item where item.item = $5
    ) as found
    order by found.published_position desc
    limit $2
) as page on true
order by page.published_position desc
