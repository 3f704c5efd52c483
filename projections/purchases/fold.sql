insert into {table} (buyer_user_id, last_position)
select payload ->> 'buyer_user_id', position
from events
where position > $1 and position <= $2 and event_type = 'PurchaseRecorded'
