-- Fraud flags, open ones first, then newest first: $1 and $2 after the flag that is open or not and was raised at this
-- position, $3 limit. Filters, each null for any: $4 kind, $5 program, $6 user, $7 whether open, $8 raised at this time
-- or later, $9 raised before this time, $10 flag, $11 referee, $12 referrer.
select {position} as position, page.*,
    evidence.address, evidence.other_address, evidence.client_address, evidence.findings, evidence.sign_up_count,
    greatest(page.recorded_count, coalesce(evidence.repetitions + 1, 1)) as count,
    greatest(page.raise_time, evidence.last_found_time) as last_time,
    -- Evidence that was deleted does not tell from where.
    (
        select count(*) from sign_up_clients as client
        where evidence.network is not null and client.network = evidence.network
    ) as sign_ups_of_address,
    referee.username as referee_username, referrer.username as referrer_username, other.username as other_username,
    (select register_time from {users} as of where of.user_id = page.referee_user_id) as referee_time,
    (select register_time from {users} as of where of.user_id = page.referrer_user_id) as referrer_time,
    (select register_time from {users} as of where of.user_id = page.other_user_id) as other_time,
    (
        select referral_status from {participants} as of
        where of.program_id = page.program_id and of.user_id = page.referee_user_id
    ) as referral_status,
    -- Without the evidence no address is shown.
    case
        when evidence.flag_id is null then null
        when page.referrer_user_id = page.other_user_id then evidence.other_address
        else referrer.email
    end as referrer_address
from (select) as one
left join lateral (
    select * from (
        (
            select * from {fraud_flags} as flag
            where $6::text is null and $11::text is null and $12::text is null and $10::text is null
                and (flag.is_open, flag.raised_position) < ($1::boolean, $2::bigint)
                and ($4::text is null or flag.kind = $4)
                and ($5::text is null or flag.program_id = $5)
                and ($7::boolean is null or flag.is_open = $7)
                and ($8::timestamptz is null or flag.raise_time >= $8)
                and ($9::timestamptz is null or flag.raise_time < $9)
            order by flag.is_open desc, flag.raised_position desc
            limit $3
        )
        union all
        (
            select * from {fraud_flags} as flag
            where ($6::text is not null or $11::text is not null or $12::text is not null) and $10::text is null
                and flag.flag_id in (
                    select flag_id from {fraud_flags} where referee_user_id in ($6, $11)
                    union select flag_id from {fraud_flags} where referrer_user_id in ($6, $12)
                    union select flag_id from {fraud_flags} where other_user_id = $6)
                and ($6 is null or $6 in (flag.referee_user_id, flag.referrer_user_id, flag.other_user_id))
                and ($11 is null or flag.referee_user_id = $11)
                and ($12 is null or flag.referrer_user_id = $12)
                and (flag.is_open, flag.raised_position) < ($1::boolean, $2::bigint)
                and ($4::text is null or flag.kind = $4)
                and ($5::text is null or flag.program_id = $5)
                and ($7::boolean is null or flag.is_open = $7)
                and ($8::timestamptz is null or flag.raise_time >= $8)
                and ($9::timestamptz is null or flag.raise_time < $9)
            order by flag.is_open desc, flag.raised_position desc
            limit $3
        )
        union all
        select * from {fraud_flags} as flag where flag.flag_id = $10
    ) as found
    order by found.is_open desc, found.raised_position desc
    limit $3
) as page on true
left join fraud_evidence as evidence on evidence.flag_id = page.flag_id
left join profiles as referee on referee.user_id = page.referee_user_id
left join profiles as referrer on referrer.user_id = page.referrer_user_id
left join profiles as other on other.user_id = page.other_user_id
order by page.is_open desc, page.raised_position desc
