-- Queues mails with a link that confirms the address in a profile. The append calls functions in the order of their
-- names, this one after those that write profiles, so that the addresses of the same batch are there.
--
-- Somebody who enters several programs at once, or one after the other, gets one mail an hour.
create function {write_requested_confirmations}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    with wanted as materialized (
        select distinct on (r.user_id) r.token_id, r.user_id, profile.email
        from unnest(contents) with ordinality as c(content, ordinal)
        cross join lateral jsonb_to_record(c.content) as r(token_id text, user_id text)
        cross join lateral (
            select p.email from profiles as p where p.user_id = r.user_id limit 1
        ) as profile
        where not exists (
            select from mailed_tokens as earlier
            where earlier.user_id = r.user_id and earlier.purpose = 'confirm_email'
                and earlier.email = profile.email
                and earlier.created_at > clock_timestamp() - interval '1 hour'
        )
        order by r.user_id, c.ordinal
    ), tokens as (
        insert into mailed_tokens (id, purpose, user_id, email, version)
        select wanted.token_id::uuid, 'confirm_email', wanted.user_id, wanted.email, 0 from wanted
    ), queued as (
        insert into jobs (kind, dedupe_key, payload)
        select 'urgent_mail', 'confirm_email/' || wanted.token_id,
            jsonb_build_object(
                'mail', 'confirm_email', 'user_id', wanted.user_id, 'token_id', wanted.token_id)
        from wanted
        on conflict (kind, dedupe_key) do nothing
        returning id, payload
    )
    insert into mails (job_id, kind, user_id, recipient)
    select queued.id, 'confirm_email', wanted.user_id, wanted.email
    from queued join wanted on wanted.user_id = queued.payload ->> 'user_id';
end;
$$;
