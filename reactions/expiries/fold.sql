-- The ends of lots to which something was added, and their announcements a week before.
--
-- Most lots are known already. What was added to one that is due can meet a server that is just making it expire and has
-- not seen the addition: the update waits for that server, and if it has deleted the row, a new one is inserted.
insert into expirations (program_id, user_id, expire_time_us, is_announcement, due_time_us)
select lot.program_id, lot.user_id, lot.expire_time_us, step.is_announcement, step.due_time_us
from (
    -- The id of a participant is `program/user`.
    select distinct split_part(event.aggregate_id, '/', 1) as program_id,
        substr(event.aggregate_id, strpos(event.aggregate_id, '/') + 1) as user_id,
        (event.payload -> 'posting' ->> 'expire_time_us')::bigint as expire_time_us
    from events as event
    where event.position > $1 and event.position <= $2
        and event.aggregate_type = 'Participant' and event.payload -> 'posting' ? 'expire_time_us'
        and coalesce(event.payload -> 'posting' ->> 'to', 'available') = 'available'
        and (event.payload -> 'posting' ->> 'amount')::bigint > 0
) as lot
cross join lateral (
    values (true, lot.expire_time_us - 7 * 24 * 60 * 60 * 1000000::bigint), (false, lot.expire_time_us)
) as step (is_announcement, due_time_us)
where step.due_time_us <= extract(epoch from clock_timestamp()) * 1000000
    or not exists (
        select from expirations as known
        where known.program_id = lot.program_id and known.user_id = lot.user_id
            and known.expire_time_us = lot.expire_time_us and known.is_announcement = step.is_announcement
    )
on conflict (program_id, user_id, expire_time_us, is_announcement) do update set attempts = expirations.attempts
