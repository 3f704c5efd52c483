-- Deletes sign-ups, with the tokens that confirm them. Of those that still wait, the mails go too; of confirmed ones,
-- the mails are the user's. Returns how many sign-ups there were.
create function {remove_sign_ups}(removed text[]) returns bigint
language plpgsql
volatile
set search_path from current
-- As in `append`: plans may be cached while the tables are still empty.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    removed_count bigint;
begin
    with gone as (
        delete from sign_ups where user_id = any (removed) returning user_id, confirmed_at
    ), tokens_gone as (
        delete from mailed_tokens as token using gone
        where token.user_id = gone.user_id and token.purpose = 'confirm_sign_up'
    ), mails_gone as (
        delete from mails as mail using gone
        where gone.confirmed_at is null and mail.user_id = gone.user_id
        returning mail.job_id
    ), jobs_gone as (
        delete from jobs as job using mails_gone where job.id = mails_gone.job_id
    )
    select count(*) into removed_count from gone;
    return removed_count;
end;
$$;
