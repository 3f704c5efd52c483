-- Sign-ups that wait until their address is confirmed, where a setting demands it. A sign-up is no user: nothing of it
-- is in the log, the claims or the profiles, and any number of sign-ups may have one username.
create table sign_ups (
    -- The id that the user will have. Nobody chooses it.
    user_id       text collate "C" primary key,
    -- Personal: the address in the form in which addresses are compared, and as it was written. These and all columns
    -- below up to client_ip are null once the sign-up is confirmed: the user's data is then where that of all users is.
    address       text collate "C",
    email         text,
    -- Personal.
    username      text,
    display_name  text,
    -- argon2id in PHC string form.
    password_hash text,
    -- The program to enroll in; null if the sign-up names none.
    program_id    text,
    -- As the caller wrote it; null if there was none.
    referral_code text,
    -- Personal: the address that the sign-up came from; null if it is not known. It is that of the sign-up, and not of
    -- its confirmation, that checks by address look at.
    client_ip     inet,
    -- Personal: a keyed hash of what recognises the device; null if it was not given.
    fingerprint_key text,
    created_at    timestamptz not null default clock_timestamp(),
    -- When the address was confirmed and the user was registered; null while the sign-up waits. A link that is opened
    -- again thus gets the same answer.
    confirmed_at  timestamptz
);

-- For limits on one address, and for mailing the link again. Confirmed sign-ups have no address.
create index sign_ups_of_address on sign_ups (address, created_at);
-- For cleaning.
create index sign_ups_created on sign_ups (created_at);

-- The request ids of sign-ups in this mode, so that a repetition sends no second mail. A request is here also if its
-- address has an account, and no sign-up waits: otherwise a repetition would tell.
create table sign_up_requests (
    -- Keyed hash of caller, RPC and request id.
    key         uuid        primary key,
    -- Keyed hash of the request without secrets.
    fingerprint bytea       not null,
    created_at  timestamptz not null default clock_timestamp()
);

-- For cleaning.
create index sign_up_requests_created on sign_up_requests (created_at);
