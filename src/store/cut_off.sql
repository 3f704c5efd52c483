-- Rewards of purchases in a program that were withheld because a referral was held or rejected, and whether the buyer
-- is a participant or below them: $1 program, $2 user of the participant, $3 after this position, $4 limit, $5 levels.
select withheld.aggregate_id, withheld.position,
    exists (
        with recursive line (user_id, level) as (
            select purchase.buyer_user_id, 0
            union all
            select above.referrer_user_id, line.level + 1
            from line
            cross join lateral (
                select referrer_user_id from referrals
                where program_id = $1 and referee_user_id = line.user_id
                limit 1
            ) as above
            where line.level < $5
        )
        select from line where line.user_id = $2
    ) as is_below
from (
    select aggregate_id, position from events
    where event_type = 'RewardWithheld' and aggregate_type = 'Purchase'
        and payload ->> 'reason' in ('referral_held', 'referral_not_counted')
        and payload ->> 'program_id' = $1 and position > $3
    order by position
    limit $4
) as withheld
cross join lateral (
    select (recorded.payload ->> 'buyer_user_id') collate "C" as buyer_user_id from events as recorded
    where recorded.aggregate_type = 'Purchase' and recorded.aggregate_id = withheld.aggregate_id
        and recorded.sequence = 1
    limit 1
) as purchase
order by withheld.position
