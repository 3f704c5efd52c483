-- Records a purchase with all its consequences, in one call. Returns false if it was recorded before.
--
-- Rows are locked in a fixed order: the buyer, then the earners by name.
create function record_purchase(
    purchase_id text,
    buyer_user_id text,
    amount_minor bigint,
    purchase_payload text
) returns boolean
language plpgsql
as $$
#variable_conflict use_column
declare
    buyer   participants;
    earner  record;
    balance balances;
begin
    insert into purchases (purchase_id, buyer_user_id, amount_minor, payload)
    values ($1, $2, $3, $4::jsonb)
    on conflict do nothing;
    if not found then
        return false;
    end if;

    select * into strict buyer from participants where user_id = $2;
    if not buyer.converted then
        update participants set converted = true where user_id = $2;
    end if;

    for earner in
        select user_id, level, rule, rate_bps, ($3 * rate_bps + 5000) / 10000 as share_minor
        from (values
            (buyer.parent_user_id, 1, 'direct-commission', 500),
            (buyer.grandparent_user_id, 2, 'upline-commission', 100)
        ) as earners (user_id, level, rule, rate_bps)
        order by user_id
    loop
        if earner.level = 1 then
            update balances
            set
                direct_total_minor = direct_total_minor + earner.share_minor,
                direct_count       = direct_count + 1,
                total_minor        = total_minor + earner.share_minor,
                balance_minor      = balance_minor + earner.share_minor
            where user_id = earner.user_id
            returning * into strict balance;
        else
            update balances
            set
                upline_total_minor = upline_total_minor + earner.share_minor,
                upline_count       = upline_count + 1,
                total_minor        = total_minor + earner.share_minor,
                balance_minor      = balance_minor + earner.share_minor
            where user_id = earner.user_id
            returning * into strict balance;
        end if;

        insert into entries (user_id, number, amount_minor, payload)
        values (
            earner.user_id,
            balance.direct_count + balance.upline_count,
            earner.share_minor,
            jsonb_build_object(
                'type', 'RewardGranted',
                'program_version', 1,
                'rule', earner.rule,
                'level', earner.level,
                'source_user_id', $2,
                'purchase_id', $1,
                'basis_minor', $3,
                'rate_bps', earner.rate_bps,
                'level_count', case earner.level
                    when 1 then balance.direct_count
                    else balance.upline_count
                end,
                'posting', jsonb_build_object(
                    'kind', 'commission',
                    'amount', earner.share_minor,
                    'unit', 'INR',
                    'after', jsonb_build_object(
                        'available', balance.balance_minor,
                        'earned', balance.total_minor
                    )
                )
            ) || case
                -- Omitted if the earner has no rewards from the other level.
                when balance.direct_count = 0 or balance.upline_count = 0 then '{}'
                else jsonb_build_object('level_total_minor', case earner.level
                    when 1 then balance.direct_total_minor
                    else balance.upline_total_minor
                end)
            end
        );
    end loop;
    return true;
end
$$;
