-- Deletes everything personal about a user. Every table with personal data is named here, and in
-- `src/store/personal.rs`, from where it is exported; a test compares both with the tables that exist.
create function {erase_user}(erased_user_id text) returns void
language plpgsql
volatile
set search_path from current
-- As in `append`: plans may be cached while the tables are still empty.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
    -- Whoever has tried to sign up with the address has left it, too.
    delete from sign_ups where user_id = erased_user_id;
    perform {remove_sign_ups}(array(
        select waiting.user_id from sign_ups as waiting
        join claims as claimed on claimed.value = waiting.address
        where claimed.kind || '' = 'email' and claimed.owner = erased_user_id
    ));

    -- The address cannot be referred again, and can be used for another account.
    insert into claims (kind, value, owner)
    select 'erased_email', {address_key}(claimed.value), '' from claims as claimed
    where claimed.kind || '' = 'email' and claimed.owner = erased_user_id
    on conflict (kind, value) do nothing;
    -- What others share with the user belongs to the next who gets it.
    delete from claims where kind || '' in ('username', 'email', 'mailbox', 'look_alike', 'fingerprint')
        and owner = erased_user_id;

    delete from profiles where user_id = erased_user_id;
    delete from refresh_tokens as token using sessions as session
    where session.user_id = erased_user_id and token.session_id = session.session_id;
    -- The command has ended the sessions. Servers that start read so from the rows, which are cleaned later.
    update sessions set user_agent = '' where user_id = erased_user_id;

    -- The keys have ended with the sessions.
    update api_keys set name = '' where user_id = erased_user_id;
    -- And so do the keys of back ends that the user created.
    update api_keys set revoked_at = clock_timestamp()
    where creator_user_id = erased_user_id and revoked_at is null;
    delete from user_roles where user_id = erased_user_id;

    delete from second_factors where user_id = erased_user_id;
    delete from mailed_tokens where user_id = erased_user_id;
    -- A mail that is just being sent is not called back; a job whose mail is missing sends nothing.
    delete from jobs as job using mails as mail where mail.user_id = erased_user_id and job.id = mail.job_id;
    delete from mails where user_id = erased_user_id;
    delete from mail_opt_outs where user_id = erased_user_id;

    delete from sign_up_clients where user_id = erased_user_id;
    update referee_addresses set address = null where user_id = erased_user_id;
    -- What was found about two users says something about either. That there was a flag stays in the log.
    delete from fraud_evidence where user_id = erased_user_id;
    delete from fraud_evidence where other_user_id = erased_user_id;
    delete from fraud_notes where user_id = erased_user_id;
    delete from fraud_notes where referrer_user_id = erased_user_id;
    delete from fraud_notes where other_user_id = erased_user_id;
    delete from notes where user_id = erased_user_id;
    -- Payments and their events stay without the name and without bodies: what was paid, went back and is disputed is
    -- nothing personal, and decides what an event means that is told late or again. Somebody else's payment can name
    -- the user, too, and an event of the user's payment can name nobody.
    update stripe_events set
        body = null,
        named_user_ids = array_remove(named_user_ids, erased_user_id)
    where event_id in (
        select event_id from stripe_events where user_id = erased_user_id
        union select event_id from stripe_events where named_user_ids @> array[erased_user_id]
        union select event.event_id from stripe_payments as payment
            join stripe_events as event on event.payment_id = payment.payment_id
            where payment.user_id = erased_user_id
        union select event.event_id from stripe_payments as payment
            join stripe_events as event on event.payment_id = payment.payment_id
            where payment.named_user_ids @> array[erased_user_id]
    );
    update stripe_payments set
        state = {forget_buyer}(state, erased_user_id),
        version = version + 1,
        named_user_ids = array_remove(named_user_ids, erased_user_id),
        parked = (
            select jsonb_agg(reason) from jsonb_array_elements(parked) as reason
            where not jsonb_path_exists(
                reason,
                '$.** ? (@.buyer_user_id == $name || @.others[*] == $name || @.recorded_user_id == $name
                    || @.desired_user_id == $name || @.user_id == $name)',
                jsonb_build_object('name', erased_user_id)
            )
        )
    where payment_id in (
        select payment_id from stripe_payments where user_id = erased_user_id
        union select payment_id from stripe_payments where named_user_ids @> array[erased_user_id]
    );
    update stripe_events set user_id = null where user_id = erased_user_id;
    update stripe_payments set user_id = null where user_id = erased_user_id;
    delete from payout_methods where user_id = erased_user_id;
    -- After the profile: whoever adds to these looks at that first. The sums of programs stay.
    delete from visits where user_id = erased_user_id;
    delete from seen_tiers where user_id = erased_user_id;
end;
$$;
