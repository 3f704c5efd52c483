-- The state of all participants.
select
    user_id,
    coalesce(entries.rewards, 0),
    coalesce(entries.granted_minor, 0)::bigint,
    balances.balance_minor,
    participants.converted
from participants
join balances using (user_id)
left join (
    select user_id, count(*) as rewards, sum(amount_minor) as granted_minor
    from entries
    group by user_id
) as entries using (user_id)
