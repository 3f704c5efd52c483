-- Keys by which callers are recognised. Rows are written with the events of the key; decisions are never based on
-- them. Nothing in this table lets anybody call: the key itself is known to its holder only.
create table api_keys (
    -- A part of the key, and no secret.
    key_id         text collate "C" primary key,
    -- The SHA-256 of the key, which has some 190 random bits, so that its hash needs no salt.
    hash           bytea       not null unique check (length(hash) = 32),
    -- What its owner calls it. Free text, so personal data.
    name           text        not null,
    -- admin, service, user
    role           text collate "C" not null check (role in ('admin', 'service', 'user')),
    -- The user whom a key of the role `user` belongs to; null for other roles.
    user_id        text collate "C" check ((role = 'user') = (user_id is not null)),
    -- The RPCs, and sets of RPCs, that the key is limited to; null if it is not.
    rpcs           text[],
    -- The programs that the key is limited to; null if it is not.
    program_ids    text[],
    created_at     timestamptz not null,
    -- When the key ceases to be valid; null if never.
    expires_at     timestamptz,
    -- When the key was revoked; null if it was not.
    revoked_at     timestamptz,
    -- A time at which the key was in use; null if it never was. Written at most once a minute, after the calls, so
    -- a server that is killed may lose a minute of it.
    last_used_at   timestamptz,
    -- How often the key was refused: calls after its end, beyond its role or limits, or too many. Written after the calls,
    -- so a server that is killed may lose some seconds of it.
    refused_calls   bigint      not null default 0,
    -- When it was refused last; null if it never was.
    last_refused_at timestamptz,
    -- Who created it, as the log names actors: user:ID, key:ROLE:ID, key:admin, command_line, anonymous.
    created_by      text        not null,
    -- The person who created it or, if a key did, the person who had created that key. The key ends when that person gets
    -- another role or is erased. Null if nobody did, and for keys of the role `user`, which end with their user.
    creator_user_id text collate "C" check (role <> 'user' or creator_user_id is null)
);

-- For lists: all keys, and those of one user, newest first.
create index api_keys_in_order on api_keys (created_at, key_id);
create index api_keys_of_user on api_keys (user_id, created_at, key_id) where user_id is not null;
-- For ending the keys that a person created.
create index api_keys_of_creator on api_keys (creator_user_id) where creator_user_id is not null;

-- What people may do, where that is more than everybody may: operator or admin. A user without a row is a participant.
create table user_roles (
    user_id text collate "C" primary key,
    -- participant, operator, admin
    role    text collate "C" not null check (role in ('participant', 'operator', 'admin'))
);
