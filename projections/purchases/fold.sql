insert into {table} (buyer_hash, last_position)
select hashtextextended(payload ->> 'buyer_user_id', 0), position
from events
where position > $1 and position <= $2 and event_type = 'PurchaseRecorded'
