-- What is reserved of each of the payouts $1, written `program/payout`, in minor units; beyond a bigint, its maximum.
select payout, least(reserved_minor, 9223372036854775807)::bigint as reserved
from {payouts}
where payout = any($1)
