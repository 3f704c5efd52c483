-- Queues the mail to user $2 of program $1 about the lot that expires at $3. A job that exists is looked up first,
-- because a conflict uses up an id. Nobody is written to who was erased.
with occasion as (
    select 'expiry/' || $1::text || '/' || $2::text || '/' || $3::bigint as key
), queued as (
    insert into jobs (kind, dedupe_key, payload)
    select 'mail', occasion.key, jsonb_build_object(
        'mail', 'expiry',
        'user_id', $2::text,
        'program_id', $1::text,
        'expire_time_us', $3::bigint,
        'time_zone', coalesce(program.rules ->> 'time_zone', 'UTC')
    )
    from occasion
    cross join lateral (
        select published.payload -> 'rules' as rules
        from events as published
        where published.aggregate_type = 'Program' and published.aggregate_id = $1::text
        order by published.sequence desc
        limit 1
    ) as program
    where (program.rules ->> 'mails')::boolean
        and exists (select from profiles where profiles.user_id = $2::text)
        and not exists (select from jobs where jobs.kind = 'mail' and jobs.dedupe_key = occasion.key)
    on conflict (kind, dedupe_key) do nothing
    returning id
)
insert into mails (job_id, kind, user_id)
select id, 'expiry', $2::text from queued
