-- Adds $3 minor units from level $2 to the earnings of $1, and returns the totals.
update balances
set
    direct_total_minor = direct_total_minor + case $2::integer when 1 then $3::bigint else 0 end,
    direct_count       = direct_count + case $2 when 1 then 1 else 0 end,
    upline_total_minor = upline_total_minor + case $2 when 2 then $3 else 0 end,
    upline_count       = upline_count + case $2 when 2 then 1 else 0 end,
    total_minor        = total_minor + $3,
    balance_minor      = balance_minor + $3
where user_id = $1
returning
    case $2 when 1 then direct_total_minor else upline_total_minor end,
    case $2 when 1 then direct_count else upline_count end,
    direct_count + upline_count,
    total_minor,
    balance_minor
