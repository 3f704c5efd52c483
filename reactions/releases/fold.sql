-- The ends of hold periods, one for all rewards of a purchase or a referral in a program that end at the same moment.
insert into releases (program_id, source_user_id, purchase_id, release_time_us, due_time_us)
select distinct split_part(reward.aggregate_id, '/', 1), reward.payload ->> 'source_user_id',
    coalesce(reward.payload ->> 'purchase_id', ''), held.until, held.until
from events as reward
cross join lateral (select (reward.payload ->> 'release_time_us')::bigint as until) as held
where reward.position > $1 and reward.position <= $2
    and reward.event_type = 'RewardGranted' and reward.payload ? 'release_time_us'
on conflict do nothing
