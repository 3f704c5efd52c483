-- Mails. Each is a job of the kind `mail` or `urgent_mail`, which is done as any job is, and a row here for what is
-- personal and for how it ended. Bodies, subjects and links are never stored: a mail is rendered when it is sent.
create table mails (
    -- The job that sends the mail; its id names the mail.
    job_id         bigint      primary key,
    -- welcome, referral, conversion, tier, confirm_email, confirm_sign_up, account_exists, password_reset,
    -- email_changed, password_changed, second_factor_removed.
    kind           text collate "C" not null,
    -- The user whom the mail is for, of a sign-up that waits the id that they will have; null if there is none.
    user_id        text collate "C",
    -- Personal: the address that the mail goes to. Given with mails that do not go to the address of the profile;
    -- else null until the mail is sent.
    recipient      text,
    -- Personal: the name of somebody who is not a user yet.
    recipient_name text,
    -- Null while the mail is to be sent; sent, or skipped: there is a reason not to send it.
    outcome        text check (outcome in ('sent', 'skipped')),
    -- Why the mail was skipped: a short code.
    reason         text,
    created_at     timestamptz not null default clock_timestamp(),
    -- When the outcome was known.
    ended_at       timestamptz
);

-- For lists of one user, newest first, and for erasing a user.
create index mails_of_user on mails (user_id, job_id);
-- For lists of mails that have an outcome, newest first.
create index mails_of_outcome on mails (outcome, job_id);
-- For cleaning.
create index mails_created on mails (created_at);

-- Personal: which kinds of mail a user does not want. A row is a no.
create table mail_opt_outs (
    user_id    text collate "C" not null,
    kind       text collate "C" not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (user_id, kind)
);

-- The secret key of the links by which mails are unsubscribed from and of Message-IDs. Whoever knows it can
-- unsubscribe people, and nothing else.
insert into secrets (name, value)
values ('mails', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
