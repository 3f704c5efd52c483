-- The log: every event that ever happened, in one order.
--
-- A superset of the table that postgres-es expects, so that it can read and replay every stream.
-- Text is compared byte by byte ("C"): identifiers are ASCII, and it is the fastest order there is.
create table events (
    -- Place in the whole log: 1, 2, 3, ... without gaps, in the order of commits.
    position       bigint      not null,
    -- Place in its stream: 1, 2, 3, ...
    sequence       bigint      not null,
    -- When it was appended, by the clock of the database; never earlier than at any lower position.
    recorded_at    timestamptz not null,
    -- Kind of aggregate: User, Program, Participant, Purchase.
    aggregate_type text collate "C" not null,
    -- Which one. A participant is `program/user`.
    aggregate_id   text collate "C" not null,
    -- What happened, in the past tense.
    event_type     text collate "C" not null,
    -- Version of the payload's shape.
    event_version  text collate "C" not null,
    -- The fields of the event. Never personal data.
    payload        jsonb       not null,
    -- `command_events`, on the first event of a command: how many events, from this position on,
    -- are what that one command came to.
    metadata       jsonb       not null,
    -- Identifiers first: nearly every comparison in the index ends with them.
    primary key (aggregate_id, aggregate_type, sequence)
);

create unique index events_position on events (position);

-- States of long streams, so that loading one need not read it from its beginning. A cache: a row
-- may be missing, old, or of another state version, and is then ignored.
create table snapshots (
    aggregate_type   text collate "C" not null,
    aggregate_id     text collate "C" not null,
    -- The last event that the state contains.
    last_sequence    bigint  not null,
    -- How many snapshots of the stream there have been (postgres-es counts them).
    current_snapshot bigint  not null,
    -- Version of the state's own shape.
    state_version    integer not null,
    payload          jsonb   not null,
    primary key (aggregate_type, aggregate_id)
) with (fillfactor = 70);

-- Which requests were carried out, kept for good, so that a repeated one has one effect.
create table receipts (
    -- Hash of the caller, the RPC and the request_id.
    key            uuid   primary key,
    -- Keyed hash of the request without secrets, to tell a repetition from another request.
    fingerprint    bytea  not null,
    -- The events that the request came to; none if the last is before the first.
    first_position bigint not null,
    last_position  bigint not null
);

-- Values that belong to one owner until the owner gives them up. Whoever writes here holds the lock of
-- the log.
create table claims (
    -- code, username, email, program, default_program
    kind  text collate "C" not null,
    -- In the form in which values are compared.
    value text collate "C" not null,
    -- A user, a participant (`program/user`) or a program.
    owner text collate "C" not null,
    primary key (kind, value)
);

-- Personal data, beside the log and never in it.
create table profiles (
    user_id       text collate "C" primary key,
    username      text not null,
    email         text not null,
    display_name  text not null,
    -- argon2id in PHC string form; null when a back end registered the user without a password.
    password_hash text
);

-- Which programs a user is in. Rows are never changed; for loading what a decision needs in one go.
create table enrollments (
    user_id    text collate "C" not null,
    program_id text collate "C" not null,
    primary key (user_id, program_id)
);

-- Who referred whom. Rows are never changed; for walking up a line in one go.
create table referrals (
    program_id       text collate "C" not null,
    referee_user_id  text collate "C" not null,
    referrer_user_id text collate "C" not null,
    primary key (program_id, referee_user_id)
);

-- The last batches of each server process, so that a batch that is sent again after a lost connection
-- is answered as the first time instead of being appended twice. Rows are never updated: versions of
-- one row would pile up while any old snapshot is open, and every append would have to step over them.
create table writers (
    writer      uuid        not null,
    batch       bigint      not null,
    head        bigint      not null,
    recorded_at timestamptz not null,
    verdicts    smallint[]  not null,
    facts       jsonb,
    primary key (writer, batch)
);

-- The secret that keys fingerprints and other hashes of what must not be guessed from them.
create table secrets (
    name  text collate "C" primary key,
    value bytea not null
);

insert into secrets (name, value)
values ('fingerprint', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Lives of the database. A restored or moved database may hold less than what was acknowledged, so
-- that a position of an earlier life means something only up to where that life ended.
create table epochs (
    -- 1, 2, 3, ...
    epoch             integer primary key,
    -- Identity of the cluster, its timeline and the database in it.
    system_identifier bigint  not null,
    timeline          bigint  not null,
    database_oid      bigint  not null,
    -- The head of the log when the epoch began.
    start_position    bigint  not null
);

-- Which functions have been made from `migrations/functions`, by this release and by others. Their names end
-- with a hash of what they do, so that the functions of several releases stand side by side.
create table database_functions (
    name       text collate "C" primary key,
    created_at timestamptz not null
);
