-- Participants of a program with what was available to each as of a position, and whether they have a line of a payout:
-- $1 program, $2 after this user, $3 position, $4 limit, $5 payout as `program/payout`.
--
-- Who there is comes from the read model, a page at a time in the order of its key. In the log the streams of participants
-- stand between those of redemptions and of the lines of all earlier payouts, whose ids begin with that of the program
-- too: whoever walks the log from stream to stream walks through all of them. The read model must have reached the
-- position. Whoever was enrolled later had nothing then.
--
-- What was available then, and who has a line, is read from the log: from one participant's stream backwards, and from
-- the first event of the line.
select {position} as position, member.user_id, coalesce(then_.available, 0) as available_then,
    line.sequence is not null as has_line
from (select) as one
left join lateral (
    select user_id from {participants}
    where program_id = $1 and user_id > $2
    order by user_id
    limit $4
) as member on true
left join lateral (
    select (payload #>> '{posting,after,available}')::bigint as available from events
    where aggregate_type = 'Participant' and aggregate_id = $1 || '/' || member.user_id and position <= $3
        and payload ? 'posting'
    order by sequence desc
    limit 1
) as then_ on true
left join lateral (
    select sequence from events
    where aggregate_type = 'PayoutLine' and aggregate_id = $5 || '/' || member.user_id and sequence = 1
    limit 1
) as line on true
order by member.user_id
