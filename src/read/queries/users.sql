-- Users, newest first: $1 before this position, $2 limit.
select {position} as position, registered.*
from (select) as one
left join lateral (
    select page.*, profiles.username, profiles.display_name
    from (
        select * from {users} where registered_position < $1
        order by registered_position desc
        limit $2
    ) as page
    left join profiles on profiles.user_id = page.user_id
) as registered on true
order by registered.registered_position desc
