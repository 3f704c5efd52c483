-- What fraud checks of referrals would have compared with: one row for each, in their order. $1 the program; $2, $3 and $4
-- the referees, their referrers and when; $5 the window for sign-ups from one address, in hours; $6 how many of the
-- referrer's latest referees; $7 how many such sign-ups are too many, beyond which nothing is counted: with a count of
-- all, thousands of sign-ups from one address would cost the square of their number. Addresses are the present ones.
select {position} as position, asked.ordinal, own.address, referrer.address as referrer_address,
    latest.user_ids, latest.refer_times, latest.addresses, client.fingerprint_key,
    case
        when client.network is not null and client.sign_up_time > asked.refer_time - $5 * interval '1 hour'
        then before.sign_ups
    end as sign_ups_before,
    registered.registered_position,
    exists (
        select from enrollments as other
        join referrals as back
            on back.program_id = other.program_id and back.referee_user_id = other.user_id
        join referee_addresses as dated
            on dated.program_id = back.program_id and dated.referrer_user_id = back.referrer_user_id
            and dated.user_id = back.referee_user_id
        where other.user_id = asked.referrer_user_id and other.program_id <> $1
            and back.referrer_user_id = asked.user_id and dated.refer_time < asked.refer_time
    ) as is_mutual
from unnest($2::text[], $3::text[], $4::timestamptz[])
    with ordinality as asked(user_id, referrer_user_id, refer_time, ordinal)
left join lateral (
    select value as address from claims where kind || '' = 'email' and owner = asked.user_id limit 1
) as own on true
left join lateral (
    select value as address from claims where kind || '' = 'email' and owner = asked.referrer_user_id limit 1
) as referrer on true
left join lateral (
    select registered_position from {users} as of where of.user_id = asked.user_id
) as registered on true
-- From where the user signed up.
left join sign_up_clients as client on client.user_id = asked.user_id
left join {participants} as referee on referee.program_id = $1 and referee.user_id = asked.user_id
-- Those who were enrolled within the window before, having signed up from the same address within the window before that.
left join lateral (
    select count(*) as sign_ups from (
        select from sign_up_clients as earlier
        join {participants} as enrolled on enrolled.program_id = $1 and enrolled.user_id = earlier.user_id
        where earlier.network = client.network
            and earlier.sign_up_time > asked.refer_time - 2 * $5 * interval '1 hour'
            and earlier.sign_up_time <= asked.refer_time
            and earlier.sign_up_time > enrolled.enroll_time - $5 * interval '1 hour'
            and enrolled.enroll_time > asked.refer_time - $5 * interval '1 hour'
            and enrolled.enrolled_position < referee.referral_position and enrolled.user_id <> asked.user_id
        order by earlier.sign_up_time desc
        limit $7
    ) as counted
) as before on true
cross join lateral (
    select coalesce(array_agg(of.user_id), '{}') as user_ids,
        coalesce(array_agg(of.refer_time), '{}') as refer_times,
        coalesce(array_agg(of.address), '{}') as addresses
    from (
        select r.user_id, r.refer_time, r.address from referee_addresses as r
        where r.program_id = $1 and r.referrer_user_id = asked.referrer_user_id
            and (r.refer_time, r.user_id) < (asked.refer_time, asked.user_id)
        order by r.refer_time desc, r.user_id desc
        limit $6
    ) as of
) as latest
order by asked.ordinal
