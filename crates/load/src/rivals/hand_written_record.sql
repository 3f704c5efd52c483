-- Records a purchase, and returns the earners. Returns no row if it was recorded before.
with recorded as (
    insert into purchases (purchase_id, buyer_user_id, amount_minor, payload)
    values ($1, $2, $3, $4::jsonb)
    on conflict (purchase_id) do nothing
    returning buyer_user_id
)
select parent_user_id, grandparent_user_id, converted
from recorded
join participants on participants.user_id = recorded.buyer_user_id
