-- Users with these ids, by their ids: $1.
select {position} as position, registered.*
from (select) as one
left join lateral (
    select page.*, profiles.username, profiles.display_name
    from {users} as page
    left join profiles on profiles.user_id = page.user_id
    where page.user_id = any($1)
) as registered on true
order by registered.user_id
