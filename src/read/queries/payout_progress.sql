-- How far payout $1, written `program/payout`, of program $2 has collected: how many participants had their turn when its
-- job last handed over, and how many there are.
select coalesce((
        select max((payload ->> 'looked_at')::bigint) from jobs
        where kind = 'payout_collect' and payload ->> 'payout' = $1
    ), 0) as looked_at,
    coalesce((select registered_count::bigint from {overviews} where program_id = $2), 0) as participants
