-- Tokens that are mailed to people: for confirming an address, for changing it, for choosing another password, and for
-- making a sign-up an account.
-- The token is made from the id and a secret of the servers when the mail is made, so that neither this table nor a
-- backup of it is of use to a thief.
create table mailed_tokens (
    id         uuid        primary key,
    -- confirm_email, change_email, reset_password, confirm_sign_up
    purpose    text collate "C" not null
        check (purpose in ('confirm_email', 'change_email', 'reset_password', 'confirm_sign_up')),
    -- Of a sign-up that waits: the id that the user will have.
    user_id    text collate "C" not null,
    -- The address that the token is mailed to. Personal data.
    email      text        not null,
    -- What the token depends on. change_email: the version of the profile in which the address was asked for.
    -- reset_password: how many passwords the user had chosen, so that a token ends with any new password.
    version    bigint      not null,
    created_at timestamptz not null default clock_timestamp(),
    -- SHA-256 of the token; null until a mail with it has been made.
    token_hash bytea       unique,
    -- Until when the token is good; null until a mail with it has been made. confirm_sign_up: known from the beginning.
    expires_at timestamptz
);

-- For limits on the number of mails to a user, for a user's open change of address, and for erasing a user.
create index mailed_tokens_of_user on mailed_tokens (user_id, purpose, created_at);
-- For cleaning.
create index mailed_tokens_created on mailed_tokens (created_at);

-- Second factors (TOTP, RFC 6238).
create table second_factors (
    user_id         text collate "C" primary key,
    -- The secret that the user's app has as well, encrypted with a key that is derived from a signing key of the
    -- servers.
    sealed_secret   bytea       not null,
    -- Whether a login needs it. Before, the user has not shown yet that their app knows it.
    is_on           boolean     not null,
    -- The last period of 30 seconds, counted from 1970, whose code was accepted; a code is accepted once.
    last_period     bigint      not null default 0,
    -- SHA-256 of each recovery code that has not been used.
    recovery_hashes bytea[]     not null default '{}',
    created_at      timestamptz not null default clock_timestamp()
);
