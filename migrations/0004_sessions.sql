-- Sessions: one row for each login of a person. Only the ends of sessions are events.
create table sessions (
    session_id text collate "C" primary key,
    user_id    text collate "C" not null,
    -- What the person could do at the login; a change of the role ends the sessions.
    role       text collate "C" not null,
    -- What the client called itself. Personal data.
    user_agent text        not null,
    created_at timestamptz not null,
    -- The head of the log when the session began: later events that end all sessions of the user end this one.
    position   bigint      not null,
    -- The session cannot be refreshed after this.
    expires_at timestamptz not null,
    -- When it was last refreshed; at first, when it began.
    used_at    timestamptz not null,
    -- When it was ended; null if it was not.
    ended_at   timestamptz
);

create index sessions_of_user on sessions (user_id, created_at);
-- For servers that start.
create index sessions_ended on sessions (ended_at) where ended_at is not null;
-- For cleaning.
create index sessions_expired on sessions (expires_at);

-- Refresh tokens, those that were used included, so that a stolen one is noticed when it is used again.
create table refresh_tokens (
    -- The SHA-256 of the token, which has 256 random bits, so that its hash needs no salt.
    hash           bytea       primary key check (length(hash) = 32),
    session_id     text collate "C" not null,
    -- How many exchanges led to the token: 0 for that of the login. An exchange that is repeated gives a second token
    -- of the same generation.
    generation     integer     not null default 0,
    -- An unused token is of no use after this. Cleaned thereafter.
    expires_at     timestamptz not null,
    -- When a token of its generation was first exchanged for another; null before.
    used_at        timestamptz,
    -- Until when one token of its generation can be exchanged once more, because the answer may have been lost. Null
    -- before the first exchange, after the second one, and once a token of the next generation has been exchanged.
    reusable_until timestamptz
);

create index refresh_tokens_of_session on refresh_tokens (session_id);
create index refresh_tokens_expired on refresh_tokens (expires_at);
