-- Participants of a program with what was available to each as of a position, and whether they have a line of a payout:
-- $1 program, $2 after this user, $3 position, $4 limit, $5 payout as `program/payout`. From stream to stream;
-- index entries of other streams of the program that lie in between, as of lines of earlier payouts, are stepped over one
-- by one. `0` follows `/`.
with recursive member (aggregate_id, number) as (
    (
        select aggregate_id, 1::bigint from events
        where aggregate_id > $1 || '/' || $2 and aggregate_id < $1 || '0' and aggregate_type = 'Participant'
        order by aggregate_id
        limit 1
    )
    union all
    select next.aggregate_id, member.number + 1
    from member
    cross join lateral (
        select aggregate_id from events
        where aggregate_id > member.aggregate_id and aggregate_id < $1 || '0' and aggregate_type = 'Participant'
        order by aggregate_id
        limit 1
    ) as next
    where member.number < $4
)
select id.user_id, coalesce(then_.available, 0) as available_then, line.sequence is not null as has_line
from member
cross join lateral (select substr(member.aggregate_id, length($1) + 2) as user_id) as id
left join lateral (
    select (payload #>> '{posting,after,available}')::bigint as available from events
    where aggregate_type = 'Participant' and aggregate_id = member.aggregate_id and position <= $3
        and payload ? 'posting'
    order by sequence desc
    limit 1
) as then_ on true
left join lateral (
    select sequence from events
    where aggregate_type = 'PayoutLine' and aggregate_id = $5 || '/' || id.user_id and sequence = 1
    limit 1
) as line on true
order by member.aggregate_id
