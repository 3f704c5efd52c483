-- The owners of values that users can share, and when they registered: one row for each value that has one. $1 kinds, $2
-- values.
select {position} as position, found.*
from (select) as one
left join lateral (
    select asked.ordinal, claimed.owner, registered.registered_position
    from unnest($1::text[], $2::text[]) with ordinality as asked(kind, value, ordinal)
    join claims as claimed on claimed.kind = asked.kind and claimed.value = asked.value
    join {users} as registered on registered.user_id = claimed.owner
) as found on true
