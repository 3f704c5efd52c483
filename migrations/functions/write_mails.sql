-- Queues mails: for each a job, and a row with what is personal. Mails that somebody waits for have jobs of a kind of
-- their own, so that they never queue behind the others. A mail whose occasion was queued before is left out.
create function {write_mails}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    with given as materialized (
        select distinct on (m.occasion) m.*
        from unnest(contents) with ordinality as c(content, ordinal)
        cross join lateral jsonb_to_record(c.content) as m(
            occasion text, kind text, is_urgent boolean, user_id text, recipient text, recipient_name text,
            facts jsonb)
        order by m.occasion, c.ordinal
    ), queued as (
        insert into jobs (kind, dedupe_key, payload)
        select case when given.is_urgent then 'urgent_mail' else 'mail' end, given.occasion,
            given.facts || jsonb_strip_nulls(jsonb_build_object('mail', given.kind, 'user_id', given.user_id))
        from given
        on conflict (kind, dedupe_key) do nothing
        returning id, dedupe_key
    )
    insert into mails (job_id, kind, user_id, recipient, recipient_name)
    select queued.id, given.kind, given.user_id, given.recipient, given.recipient_name
    from queued join given on given.occasion = queued.dedupe_key;
end;
$$;
