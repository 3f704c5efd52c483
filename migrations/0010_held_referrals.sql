-- Rewards of purchases that were withheld because a referral was held or rejected, by program and position: what can be
-- made up for when the referral is released. Such events are rare, so that the index is small.
create index events_cut_off on events ((payload ->> 'program_id'), position)
    where event_type = 'RewardWithheld' and aggregate_type = 'Purchase'
        and payload ->> 'reason' in ('referral_held', 'referral_not_counted');
