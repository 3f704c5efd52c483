-- Queues jobs again at once, with as many attempts as new ones: jobs that are parked, and those of mails that were skipped.
-- A job with another number of attempts has been retried before.
create function {write_job_retries}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
-- As in `append`: plans may be cached while the tables are still empty.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
    with again as (
        update jobs set state = 'queued', run_after = clock_timestamp(), finished_at = null,
            forgiven_attempts = jobs.attempts
        from unnest(contents) as c(content)
        where jobs.id = (c.content ->> 'job_id')::bigint
            and jobs.attempts = (c.content ->> 'attempts')::integer
            and (jobs.state = 'parked'
                or jobs.state = 'done' and exists (
                    select from mails where mails.job_id = jobs.id and mails.outcome = 'skipped'))
        returning jobs.id
    )
    update mails set outcome = null, reason = null, ended_at = null
    from again where mails.job_id = again.id;
end;
$$;
