-- The number of open fraud flags by kind, up to 10000 in all.
select kind, count(*) as count
from (select kind from {fraud_flags} where is_open limit 10000) as open
group by kind
